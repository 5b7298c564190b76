package s3storage

// trustPuts is a bug that the model check must find: to believe that a PUT that succeeded
// is part of the log.
const trustPuts = false
