// Package crashtest proves what a file storage keeps when the power fails.
//
// A round runs a store.Store on a filestorage over a file system in memory that
// knows what is durable (vfs.CrashFS). Several clients commit, undo, delete,
// store blobs, take oids, give up, while another packs. At an operation of the
// file system that the seed chooses the power is cut, or the process killed, and
// the storage is opened again on what is left, which the seed chooses too: sectors
// and changes of directories that were not synced may be lost in any combination.
// A round has several such lives. In some the disk fails to sync or runs full
// besides. Then:
//
//   - every acknowledged transaction is there, whole, with its tid and its blobs;
//   - none that was aborted, or refused with another error than
//     zodb.ErrCommitUnknown, is there;
//   - what else is there are the next of those that were being committed, in
//     their order and without a gap;
//   - what once was seen after opening stays;
//   - no oid that was handed out is handed out again;
//   - the name of the database is what it was;
//   - the index that was saved says the same as one that is built anew, and so
//     does a second opening;
//   - Data.fs is well-formed to its last byte, by a reader that shares no code
//     with the engine.
//
// The clients take turns: all goroutines of a round stop at certain points (each
// step of a client, each append, the writes of a pack), and the seed chooses who
// goes on. So a seed stands for one course of events, however busy the machine.
//
// There is nothing in the package but its tests. They run a sample;
//
//	ZARI_ROUNDS=10000 go test -timeout 30m -run TestPowerLoss ./engine/filestorage/crashtest
//
// runs many, ZARI_FAILURES=n goes on until n have failed, and ZARI_SEED=n repeats
// one. A test plants bugs and shows that they are found. With ZARI_PYTHON=python,
// Python's FileStorage reads what the power cuts have left.
package crashtest
