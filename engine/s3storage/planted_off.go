//go:build !planted

package s3storage

// Bugs that the model check must find. Without the build tag there are none.
const (
	plantedTrustPuts   = false // a PUT that succeeded is believed, however long it took
	plantedTrust412    = false // a slot that is taken is somebody else's
	plantedNewBytes    = false // what is put again is another object
	plantedDeleteFirst = false // the floor is raised when everything is deleted
	plantedNoGrace     = false // garbage is deleted at once
	plantedStaleRuns   = false // runs of the index stay though their places are gone
	plantedTrustMoves  = false // a slot that was moved is believed to be there, however long it took
	plantedReachOver   = false // segments of a pack reach over those that stay
	plantedNoCatchUp   = false // a pack does not look at what was committed meanwhile
	plantedPinsBefore  = false // what branches need is looked at before it is announced what is deleted, but not after
	plantedPinsUnread  = false // a branch does not look whether what it needs is going to be deleted
)
