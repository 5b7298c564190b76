// Package s3storage keeps a database in a bucket, or in anything that an
// objstore.Store is: a directory, for one.
//
// # The model
//
// The database is a log of objects, log/1, log/2 and so on without a gap. Each holds
// a batch of transactions, or says something about the log itself. An object is
// written with the condition that its key is free, and names the hash of the one
// before it. So whoever writes slot n has seen all slots before it, exactly one
// writer succeeds, and the order of the slots is the order of the commits. That is all
// there is to a commit: one PUT.
//
// Everything else follows from the log. A state (state.go) is what one has who has read
// it up to a slot: where each revision lies, the last tid, what is garbage. It is the
// same for everybody who has read as far. A checkpoint is a state as an object, so
// that nobody has to read from the beginning; a compaction moves the transactions of
// many slots to one segment, and is a log object that says so.
//
// # One writer, and how it is known
//
// A writer begins with a fence: a log object with the next epoch. Who wrote before finds
// the slot taken, reads the fence, and stops for good. No clock takes part in this.
// The lease only keeps a second server from taking over while the first is well.
//
// # What became of a PUT
//
// A PUT that fails may have succeeded, or may yet. Then the slot is read: it has our
// nonce, so we wrote it; another one, so we did not and never shall; or nothing, and the
// same bytes are put again. Until one of the first two is the case the slot is in
// doubt, and nothing else is written.
//
// # In front of the bucket
//
// A log may go on in a front (front.go, package front): PostgreSQL, or a disk. Then a slot is durable
// there first, and moved to the bucket behind (move.go). The log itself says so: a fence in the
// bucket names the front, and a fence in that leaves it. What is in the bucket is a
// beginning of the log at any time, and what is not a slot of the log (checkpoints, runs) is written
// only of that.
//
// # What is deleted, and when
//
// Objects that a state does not use any more are garbage since some slot. They are
// deleted after a grace period, by the store's own clock, once a log object has
// announced it and the floor has been raised: slots below it may be gone. A writer that was
// stopped so long that its slot may have been written, and deleted, meanwhile, reads
// the floor before it believes in its PUT.
//
// # Reads
//
// The index in memory says where each revision lies, so a load is one GET: of the block
// that its record begins in (blocks.go). Blocks are kept in memory and, if a directory is
// given, on a disk (objstore/blockcache); the newest log objects are in memory anyway.
//
// docs/formats/s3.md has every byte, docs/operations/s3.md what an operator sees.
package s3storage
