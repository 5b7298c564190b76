// Package mysql is the dialect of MySQL and MariaDB for package sqlstorage.
//
// # Sessions
//
// The driver is go-sql-driver, used without database/sql: a lock belongs to one
// session, so it must be known which session it is, that it is still the same,
// and when it is gone. Sessions come from bounded pools, by what they do:
//
//	reads      loads; each statement sees what is committed when it begins
//	snapshots  scans; a transaction that reads one state (REPEATABLE READ)
//	writes     schema, oids, pack: short transactions
//	appends    one: the group commits of an exclusive server
//	votes      shared: each holds the row locks of a vote
//
// All of them are in UTC, quote names as the standard does (ANSI_QUOTES) and are
// strict, for else the server cuts what is too long. Writers read committed, so that
// their locks are on records and never on gaps, and have autocommit off: a transaction
// that the server ends behind our back is never half of one.
//
// A session that broke with something under way is killed by its number, on a new
// connection, so that its locks are free at once. Sessions that hold locks tell the
// server to end them after two minutes of silence, and break it every half minute: so
// locks outlive a machine that is gone by two minutes and not by eight hours.
//
// # Writing
//
// A commit takes two round trips. The first takes the commit lock, which is
// RelStorage's (the row of commit_row_lock), and reads what must hold. The second is
// one text with all INSERTs, many rows each, and COMMIT. Larger batches are cut into
// texts of a few megabytes, never more than the server's max_allowed_packet; a
// state too long for a text goes as the argument of a prepared statement, which is
// sent in pieces. A state that the server cannot take at all fails the vote.
//
// Where the answer to a COMMIT is missing, the outcome is not known; anything that is
// missing before that is a failure.
//
// # Votes
//
// A vote locks rows of current_object, or of object_state where no history is kept:
// what is only read shared and without waiting, then what is written, in the order of
// the oids. The list of oids is a JSON array that the server joins with the table row
// by row, by the whole primary key: IN (...) may become a scan, and a scan locks what
// it passes. The locks are gone with their session; then the commit locks once more on
// another, without waiting, and compares the serials as always.
//
// Nobody is notified: shared servers look every 100 ms (Options.Poll) for what others
// have committed.
//
// # Two servers
//
// MySQL 8 and MariaDB differ in three places: the spelling of a shared lock that does
// not wait, a bound for a statement's time, and what NOWAIT answers. The tests run on
// MariaDB 10.11. RelStorage does not run on MariaDB.
package mysql
