// Package sqlite is the SQLite dialect of the SQL engine: a directory with the two
// files that RelStorage keeps there.
//
//	data/
//	  main.sqlite3     all tables, in WAL mode
//	  oids.sqlite3     table new_oid with one row: the last block of oids handed out
//	  zari.lock        held by the server that writes alone
//
// SQLite has one writer at a time. A [DB] has one connection that writes, guarded by
// a semaphore, and a pool of connections that only read; in WAL mode readers and the
// writer do not wait for each other. Every commit is synced (synchronous=FULL;
// RelStorage's own NORMAL may lose the last ones with the power).
//
// The files must lie in a local file system: other processes on the same host may
// use them, RelStorage included, over a network file system nobody may.
package sqlite
