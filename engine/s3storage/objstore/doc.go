// Package objstore keeps objects: byte strings under keys, in a bucket, in a
// directory, or in memory.
//
// # The model
//
// An object is written whole or not at all, and is there for every reader once its
// Put has returned. It has a size, a time, and an etag that is another one whenever the
// bytes are. There is no rename, no append and no directory; a key with slashes is a
// key with slashes. What makes a commit log of it is one condition: a Put with
// IfAbsent succeeds for exactly one of all who try, and the bytes are the winner's.
//
// # What a Put may answer
//
// Three things are known: no error, the object is there; ErrExists, the condition did
// not hold when the store looked; ErrConflict, somebody else was writing the same key,
// and nothing was decided. Every other error, a cancelled context among them, says
// nothing: the object may be there, may not be, and may still arrive later. Whoever must
// know writes something of his own into the bytes, and reads the key back.
//
// Even ErrExists does not say that the object there is somebody else's: on the way
// (a load balancer, a proxy) a request may have been sent twice, and the second
// time found the first. Reading back settles that too.
//
// # Lists
//
// A list is for sweeping up and for people. It may lack what has just been written
// and show what has just been deleted, and on some stores it is not in order. Nothing
// that must be right is decided by one.
//
// # The implementations
//
//   - bucket: Amazon S3 and what speaks its protocol
//   - dir: a directory of immutable files
//   - fake: in memory, with faults that tests ask for
//
// objstoretest is the contract as a test suite; all of them pass it. blockcache keeps
// blocks of immutable objects on a local disk.
package objstore
