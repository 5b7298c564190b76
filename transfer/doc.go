// Package transfer moves databases from one storage to another, and compares
// them: any [zodb.Storage] with any other, through the contract alone.
//
// # Copy
//
// [Copy] restores the source's transactions in the destination, one after the
// other, with their tids, status, user, description and extension to the byte,
// undo records as such, deletions, and blobs. A destination that is not empty must
// be a beginning of the source: its last transactions are compared with the
// source's, and what follows them is copied. So a copy that was killed at any
// point is resumed by starting it again, and a copy is brought up to date in the
// same way. Another history is a [*HistoryError], and nothing is written.
//
//	source ──Transactions──> reader ──batch──> writer ──Append──> destination
//	                           └── blobs are copied beside, into the
//	                               destination's directory for them
//
// Two goroutines share the work: while one batch is made durable the next is
// read. A batch has some megabytes; memory holds three of them, and one
// transaction where that is larger. Where the destination is a [zodb.Appender], a
// batch costs it one append; otherwise each transaction is committed by itself.
//
// # Verify and Diff
//
// [Verify] compares two histories: every transaction, every revision, every blob,
// in both directions. [Diff] compares two states, which may be of one storage at
// two times: which objects were added, changed and deleted.
//
// # Blobs on their way
//
// Blobs are staged in a folder zari-copy of the destination's directory for
// temporary files. The lock zari-copy.lock beside it lets one copy at a time use
// it; what a killed copy left there is removed by the next one.
package transfer
