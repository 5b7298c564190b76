// Package compress keeps records compressed, in the form of the Python package
// zc.zlibstorage.
//
// Package compressed has the form of a record. Compressed and plain ones live in
// one database: what was written before compression was switched on, or after it
// was switched off, stays readable.
//
// # Two forms of use
//
// [New] wraps a storage whose users know nothing of this: they write and read
// plain records, and the storage below holds compressed ones (<zlibstorage>).
//
// Where the clients compress (<serverzlibstorage>), a server passes records
// through as they are; that needs no wrapper. But what looks into records below
// must look through the compression in both cases: [References] for the garbage
// collection of a pack, [Resolver] for merges of conflicts. A storage opened with
// these serves databases of any mixture.
//
// # Records from strangers
//
// What is decompressed is bounded by [Options].MaxRecord.
package compress
