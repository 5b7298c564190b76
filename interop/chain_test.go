package interop

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// chain is three servers in a row: Python's over a Data.fs, and two of Zari, each a
// client of the one before.
type chain struct {
	dir      string
	links    []*server
	commands [][]string
}

// startChain starts the servers of a chain.
func startChain(t *testing.T) *chain {
	t.Helper()
	c := &chain{dir: t.TempDir()}
	zari := append([]string{}, setup.server...)
	storage := "<filestorage>\n  path " + filepath.Join(c.dir, "Data.fs") + "\n</filestorage>\n"
	for i, command := range [][]string{{setup.python, "-m", "ZEO.runzeo", "-C", "{conf}"}, zari, zari} {
		dir, addr := filepath.Join(c.dir, fmt.Sprint(i)), freeAddr(t)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		conf := filepath.Join(dir, "zeo.conf")
		writeFile(t, conf, fmt.Appendf(nil, "<zeo>\n  address %s\n</zeo>\n%s", addr, storage))
		storage = "<zeoclient>\n  server " + addr + "\n  min-disconnect-poll 1\n</zeoclient>\n"
		var words []string
		for _, word := range command {
			words = append(words, strings.ReplaceAll(word, "{conf}", conf))
		}
		c.commands = append(c.commands, words)
		c.links = append(c.links, startCommand(t, dir, addr, words))
	}
	return c
}

// restart kills a server and starts it again.
func (c *chain) restart(t *testing.T, i int) {
	t.Helper()
	s := c.links[i]
	s.kill()
	c.links[i] = startCommand(t, s.cmd.Dir, s.addr, c.commands[i])
}

func (c *chain) address() string { return c.links[len(c.links)-1].addr }

// TestChain has Python applications at the end of a chain of servers, each of which
// is killed and started again under load. What was acknowledged is in the file, and no
// client sees an old state beside a new one, or goes back.
func TestChain(t *testing.T) {
	needPython(t)
	if setup.zari == "" {
		t.Skip("the chain is made of Zari's servers")
	}
	rounds := 2
	if s := os.Getenv("ZARI_ROUNDS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatalf("ZARI_ROUNDS: %v", err)
		}
	}
	c := startChain(t)
	python[struct{}](t, c.dir, "accounts.py", c.address())
	writers := startWriters(t, c.dir, c.address(), 0, "forgetful") // as the last server is
	var banks []*program
	for range 2 {
		b := launch(t, c.dir, "bank.py", c.address())
		b.expect(&ready{})
		banks = append(banks, b)
	}
	dice := rand.New(rand.NewPCG(8, uint64(rounds)))
	for range rounds {
		for _, i := range dice.Perm(len(c.links)) {
			for _, w := range writers {
				w.progress(1 + dice.IntN(3))
			}
			time.Sleep(time.Duration(dice.IntN(3000)) * time.Microsecond)
			t.Logf("kill -9 of server %d", i)
			c.restart(t, i)
		}
	}
	for _, w := range writers {
		w.progress(1)
		w.finish()
	}
	moved := 0
	for _, b := range banks {
		var said struct{ Looks, Moved, Seen int }
		b.tell()
		b.expect(&said)
		b.wait()
		t.Logf("a client looked %d times and made %d transfers", said.Looks, said.Moved)
		moved += said.Moved
	}
	if moved == 0 {
		t.Error("the clients made no transfer")
	}
	acknowledged, _ := told(writers)
	t.Logf("%d commits acknowledged", len(acknowledged))
	for _, s := range c.links {
		s.kill()
	}
	check(t, filepath.Join(c.dir, "Data.fs"), acknowledged)
}
