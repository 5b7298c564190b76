// Package zodb is the contract that every storage of Zari fulfils, and that
// servers, wrappers, composites and tools are written against.
//
// # The model
//
// A ZODB database is a set of objects. Each object has an [OID], and a history
// of revisions: byte strings (pickles, opaque here) written by transactions. A
// transaction has a [TID], which is both its place in the one order of all
// commits and the time of the commit. The tid of the transaction that wrote a
// revision is called the revision's serial.
//
// What a reader sees is "the database just before tid T": for every object the
// newest revision whose serial is < T. [Storage.LoadBefore] reads one object of
// that view; with T = [MaxTID] it reads the current revision. An object may also
// be deleted at a tid, which is a revision without data.
//
// # Transactions
//
// [Storage.Begin] opens a [Txn], which takes no lock. Its writes are buffered
// until Vote, which locks the objects named (not the storage), compares the
// serials that were read with the committed ones, and promises that Finish will
// succeed unless the medium fails. Finish gives the tid, makes the transaction
// durable and publishes it. Publication is in tid order:
//
//	voted --Finish--> appended (durable) --> published: visible to loads,
//	                                         observers told, LastTID, locks freed
//
// Nobody sees a transaction before it is published, and nothing is published
// before it is durable.
//
// # Abilities
//
// What not every storage can do is an optional interface ([Undoer], [Iterator],
// [BlobStore] ...), found by [As] and never by a plain type assertion: a wrapper
// passes on the abilities it names and adapts those it transforms; what it does
// not name is not there. Being read-only, or not being the primary, is not a
// missing ability but a state, reported by an error.
//
// # Rules for all methods
//
//   - A []byte that passes the contract in either direction is immutable from
//     then on: nobody modifies or pools it, anybody may retain it.
//   - A method that may wait takes a context first, and returns at once when it
//     is cancelled. Finish does not heed it once it has begun.
//   - Storages are safe for concurrent use; a Txn is used by one goroutine at a
//     time.
//   - Who starts a goroutine ends it in Close. Close may be called twice.
//   - An error never stands for an answer: "unknown object" is a
//     [*NoObjectError], and every other failure is some other error.
package zodb
