// Package demo lays changes over a base that is never written: ZODB's DemoStorage.
//
// # The model
//
// A demo storage is one history that is kept in two places. The revisions up to a
// tid, the cut, are the base's; all later ones are in the changes:
//
//	base:    1 2 3 ... cut | (what a base that is alive gets later is not seen)
//	changes:               | cut+... (this storage's own commits)
//
// So a tid says where a revision is, and everything that goes by tids (old
// revisions, blobs, transactions in order, what changed since) is the one part and
// then the other. What goes by objects looks into the changes first. An object
// that is deleted in the changes is gone, though the base has it.
//
// # Commits
//
// A transaction is one of the changes, and they alone have locks: commits are as
// parallel as theirs. The transaction is told what lies below it ([zodb.OverTxn]),
// and so compares, merges and undoes with the base's revisions as with its own,
// under its own locks. The base does not change, so nothing can come in between.
// What changes are made of must therefore know OverTxn, as a store.Store does.
//
// # A base that is alive
//
// The cut is made when the demo storage is opened: at the base's last transaction,
// or, if the changes are older than that, just before the first of them. A base
// that goes on should be wrapped by a storage that shows it as of a fixed time if
// the changes are durable, since the changes do not say where the cut was before
// their first transaction. Neither should the base be packed to a time after the
// cut.
package demo
