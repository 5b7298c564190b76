// Package testmemcached starts memcached servers for tests.
//
// Where memcached is not installed the test is skipped, with CI=true it fails.
package testmemcached

import (
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// script runs memcached until its standard input is closed, which also happens when the
// process that started it is gone.
const script = `memcached -l 127.0.0.1 -p "$1" -m 64 -u "$2" & cat > /dev/null; kill -9 $!; wait`

// Start runs a server until the test ends, and returns its address.
func Start(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("memcached"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("%v: make servers installs it", err)
	}
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command("sh", "-c", script, "sh", port, "nobody")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	for deadline := time.Now().Add(30 * time.Second); !answers(address); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("memcached does not answer")
		}
	}
	return address
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func answers(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	defer c.Close()
	io.WriteString(c, "version\r\n")
	c.SetReadDeadline(time.Now().Add(time.Second))
	n, _ := c.Read(make([]byte, 64))
	return n > 0
}
