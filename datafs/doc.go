// Package datafs has the formats of a Data.fs file and of its .index, every
// byte of them, and nothing about what to do with either.
//
// The reference is the Python package ZODB: FileStorage/format.py for the data
// file, fsIndex.py and BTrees' fsBTree.c for the index.
//
// # Data.fs
//
// The file is a log. It begins with four bytes that name the format, "FS30"
// (or "FS21", which Python 2 wrote; the layout is the same, the pickles inside
// are not). Transactions follow, one after the other, in the order of their
// tids, up to the end of the file. All numbers are big-endian and unsigned; a
// position is an offset from the beginning of the file.
//
//	transaction
//	offset  bytes  what
//	0       8      tid
//	8       8      length of the transaction without the last 8 bytes
//	16      1      status
//	17      2      U, length of the user name
//	19      2      D, length of the description
//	21      2      E, length of the extension
//	23      U      user name
//	        D      description
//	        E      extension: the pickle of a dict, or nothing
//	        ...    data records
//	        8      the length again, to find the way backwards
//
//	data record
//	offset  bytes  what
//	0       8      oid
//	8       8      tid, that of the transaction
//	16      8      position of the object's previous record, 0 if there is none
//	24      8      position of the transaction
//	32      2      0 (once the length of a version's name)
//	34      8      N, length of the data
//	42      N      data, if N > 0
//	42      8      back pointer, if N = 0
//
// The status is ' ' for a finished transaction, 'p' for one that a pack went
// over, 'c' for one that is not finished: it is the last thing in the file, and
// a reader ignores it and whatever follows. 'u' is found in very old files and
// marks a transaction that was undone in place: it is skipped.
//
// A back pointer is the position of an earlier record of the same object whose
// data this record repeats, as an undo does; that record may hold a back pointer
// again. A back pointer of 0 says that the object does not exist from here on:
// it was deleted, or its creation was undone. So a record cannot hold data of
// length 0. Records that a pack went over have a previous position of 0.
//
// # .index
//
// The index maps oids to the positions of their newest records, so that opening
// a large file need not read all of it. It is a sequence of pickles:
//
//	an int                 the position up to which the index covers the file
//	(prefix, bucket) ...   for each prefix, ascending
//	None
//
// prefix is the first 6 bytes of oids, and bucket the table of those oids: n
// times the last 2 bytes of the oid, ascending, and then n times a position in
// 6 bytes. (The first two bytes of a position are always 0.)
package datafs
