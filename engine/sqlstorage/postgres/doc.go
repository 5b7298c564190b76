// Package postgres is PostgreSQL's dialect of package sqlstorage, by way of pgx.
//
// # Connections
//
// There are three bounded pools: for loads, for what writes in a short transaction,
// and, in shared mode, for the transactions that hold the locks of a vote while its
// client makes up its mind. Beside them stand a session that holds the lease or the
// pack lock, and one that listens. When a connection breaks, the pool drops the others
// as well, and new ones are tried until a server takes writes: so the promotion of a
// standby is waited for.
//
// # A batch
//
// [DB.Append] sends two pipelines: the commit lock with what is checked under it, then
// the rows with COMMIT behind them. Rows travel as arrays, one statement for a couple
// of thousand. What is large goes in several pipelines.
//
// # Locks
//
// The keys are RelStorage's: the oid for an object, -1 for the commit lock, -2 for the
// pack lock. All but the pack lock and our lease are locks of a transaction; they are
// free when it ends, however it ends.
//
// # Shared
//
// A trigger on the table that every commit writes to notifies a channel, whoever
// commits; polling is the second line. In a history-free database a second trigger
// copies the states that an UPDATE replaces to the table zari_overwritten, which is not
// logged, and which each commit trims.
package postgres
