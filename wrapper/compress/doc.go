// Package compress keeps records compressed, in the form of the Python package
// zc.zlibstorage.
//
// # The form of a record
//
// A compressed record is the two bytes ".z" and a zlib stream (RFC 1950) of the
// record proper. Every other record is itself. A pickle never begins with ".z",
// since "." ends it, so the two can be told apart and live in one database: what
// was written before compression was switched on, or after it was switched off,
// stays readable. Records of at most 20 bytes, and those that do not get shorter,
// are kept as they are.
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
// A few bytes can be the zlib stream of gigabytes. What is decompressed is bounded
// by [Options].MaxRecord; beyond it the record is an error that matches
// [ErrTooLarge], and a stream that is broken one that matches [zodb.ErrCorrupt].
package compress
