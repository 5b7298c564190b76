// Package testmemcached starts memcached servers for tests, as package testserver does.
package testmemcached

import (
	"os/exec"
	"strconv"
	"testing"

	"github.com/zaridb/zari/internal/testserver"
)

// Start runs a server until the test ends, and returns its address.
func Start(t testing.TB) string {
	t.Helper()
	program, err := exec.LookPath("memcached")
	if err != nil {
		testserver.Require(t, testserver.Missing("memcached is not installed: `make servers` installs it"))
	}
	s, err := testserver.New(testserver.Kind{Name: "memcached", Accounts: []string{"memcache", "nobody"}})
	testserver.Require(t, err)
	t.Cleanup(s.Stop)
	s.Command = []string{program, "-l", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-m", "64"}
	testserver.Require(t, s.Run())
	return s.Addr()
}
