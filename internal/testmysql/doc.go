// Package testmysql starts private MariaDB servers for tests.
//
// [Database] is what most tests want: an empty database of its own on the one
// server of the test binary. [Start] makes a server that a test may stop and kill.
//
// A server lies in a temporary directory and listens on a unix socket there, and on
// a free port of the loopback. As with package testpg a shell stands between it and
// the test binary, holds the end of a pipe, and ends the server and removes the
// directory when that closes. MariaDB refuses to run as root; then it runs as the
// user mysql or nobody.
//
// Where MariaDB is not installed the test is skipped, with CI=true it fails.
package testmysql
