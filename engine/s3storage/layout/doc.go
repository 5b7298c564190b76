// Package layout has the objects that a database in a bucket consists of: their
// keys, and every byte in them. It does no I/O and has no policy.
//
// # The objects of a database
//
// All keys stand behind one prefix. IDs are 16 random bytes, written as 32
// hexadecimal digits; slots are written as 20 decimal digits.
//
//	format                        names the database; written once
//	log/<slot>                    the commit log: slot 1, 2, 3 ... without a gap; each written once
//	seg/<2 digits>/<id>           transactions of many slots, moved together
//	idx/<2 digits>/<id>           a run of the index: where revisions lie
//	ckpt/<slot>-<id>              the state of everything after a slot
//	blob/<2 digits>/<oid>-<id>    a blob
//	floor                         slots below it may be gone; only ever raised
//	hint                          where to begin; may be old, or missing
//	lease                         who writes; for politeness, never for safety
//	pins                          the branches of this database
//	pin/<id>                      what a branch uses of it; written once
//	shared/<id>                   of a branch: the same, of the database it was branched off
//
// Everything but floor, hint, lease and pins is never changed once written. What the database
// contains is decided by the log alone: the rest can be found from it, or made
// from it again.
//
// # Conventions
//
// Numbers are big-endian; "uvarint" is encoding/binary's, "zigzag" its Varint.
// "bytes" are a uvarint length and so many bytes. Every object begins with eight
// letters that name its kind and a version byte, and ends with the CRC-32C of all
// before it. A reader refuses kinds, versions and flags that it does not know.
//
// docs/formats/s3.md says what is in each, byte by byte.
package layout
