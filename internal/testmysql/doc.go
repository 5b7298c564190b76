// Package testmysql starts private MariaDB servers for tests, as package testserver does.
//
// [Database] is what most tests want: an empty database of its own on the one
// server of the test binary. [Start] makes a server that a test may stop and kill.
//
// A server listens on a unix socket in its directory and on a free port of the
// loopback. As root it runs as the user mysql or nobody. MariaDB is found on the PATH or
// where Debian puts it.
package testmysql
