// Package testpg starts private PostgreSQL servers for tests.
//
// [Database] is what most tests want: an empty database of its own on the one
// server of the test binary. [Start] makes a server that a test may stop, kill and
// promote.
//
// A server lies in a temporary directory, and listens on a unix socket there and
// on a free port of the loopback. A shell stands between it and the test binary: it
// holds the end of a pipe, and when that closes, because the test closes it or
// because the binary is gone however it ended, it stops the server and removes the
// directory. PostgreSQL refuses to run as root; then it runs as the user postgres
// or nobody.
//
// Where PostgreSQL is not installed the test is skipped, with CI=true it fails.
// The package is found on the PATH or where Debian puts it.
package testpg
