// Package check looks for what is wrong in ZODB databases, and says what is in them.
//
// # The model
//
// A [Database] is a name and a [Source] of its current records: a [File], which reads
// a Data.fs without the engine that serves it and goes on behind damage, or any
// [zodb.Storage]. Databases that refer to each other are looked at together.
//
//	(*File).Walk      the structure of a Data.fs: lengths, order, pointers   (fstest)
//	(*File).Index     the .index beside it, against what the walk found
//	(*File).Blobs     the blob directory, against the records of blobs
//	References        references to what is not there, or is something else (fsrefs, multi-zodb-check-refs)
//	Trees             the order and the links within BTrees                  (BTrees.check)
//	Referrers         who refers to an object
//	Analyze           bytes and counts by class and time                     (space, analyze)
//	Garbage           what no root leads to, across databases                (zc.zodbdgc)
//
// What is wrong is a [Problem]; it is handed to a function as it is found. An error
// is returned only if looking itself failed.
//
// # Severity
//
// An error is what an application will trip over. A warning is what it will not, or
// what may be meant: a reference from an object that no root leads to, a class that
// was renamed since the reference was written, a file of a blob that nobody knows.
//
// # Memory
//
// Nothing is kept for a reference, and a few bytes for an object: its class (4) and,
// for a Data.fs, its position (8), in pages of 256 neighbouring oids. Where a path
// from the root must be found for a problem, 16 more. [Report] tells how much it was.
package check
