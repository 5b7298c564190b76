// Package sqlstorage keeps a database in a SQL database, in the tables of
// RelStorage 4, so that Zari and RelStorage can serve the same data, one after
// the other or at the same time.
//
// # The tables
//
// A history-preserving database has a row for each transaction ("transaction"),
// one for each revision of each object (object_state), and one for each object that
// names its newest revision (current_object). A history-free one has just one row
// for each object (object_state), with the tid that wrote it. Blobs are rows of
// blob_chunk, or files in a directory. docs/formats/sql-schema.md has all of it, type
// by type.
//
// Beside RelStorage's tables stand two of ours: zari_meta with a single row, which has
// the database's UUID, the epoch of the server that may write, and a floor for tids;
// and zari_undone, which says from where undos took their data. RelStorage does not
// look at them; losing them costs no data.
//
// # The core and the dialects
//
// This package knows no driver. What it reads it reads with portable SQL through a
// [Session]; what databases do differently (bulk writes, locks, sequences, blobs,
// notifications, the schema itself) is a [Dialect]'s, in a package of its own:
//
//	sqlite     modernc.org/sqlite, a file beside this process
//	postgres   pgx: COPY, pipelines, advisory locks, LISTEN
//	mysql      go-sql-driver: MySQL and MariaDB, row locks
//
// # Two ways to commit
//
// Exclusive: this server alone writes. It holds a lease, locks objects in memory,
// and writes many transactions of ZODB in one of SQL ([Dialect.Append]). Each
// Append proves inside its SQL transaction that the lease is still ours and that
// nobody has written in between ([Batch.Check]).
//
// Shared: RelStorage clients and other servers write too. A vote takes RelStorage's
// own locks in the database, in RelStorage's order, and keeps them until it is
// finished ([Sharer]).
package sqlstorage
