package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zaridb/zari/internal/testpg"
)

// TestFailover has the primary of a database die under load, at once or by kill -9, and its synchronous standby promoted. What
// the clients of our server were told is there, and each sees one error at most. The server finds the standby by its DSN, or
// by a replica-conf file in which the standby's name comes to stand only then.
func TestFailover(t *testing.T) {
	needZari(t)
	needRelStorage(t)
	for _, c := range []struct {
		naming, signal string
		history, long  bool
	}{
		{"dsn", "QUIT", true, false},
		{"replica-conf", "KILL", false, false},
		{"dsn", "KILL", false, true},
		{"replica-conf", "QUIT", true, true},
	} {
		t.Run(fmt.Sprintf("%s/%s/history=%v", c.naming, c.signal, c.history), func(t *testing.T) {
			if c.long && number(t, "ZARI_SECONDS", 0) == 0 {
				t.Skip("ZARI_SECONDS is not set")
			}
			failOver(t, c.naming, c.signal, c.history)
		})
	}
}

func failOver(t *testing.T, naming, signal string, history bool) {
	primary := testpg.Start(t, testpg.Options{})
	if err := primary.Exec("CREATE DATABASE zari"); err != nil {
		t.Fatal(err)
	}
	standby := primary.Standby(t)
	const place = "user=postgres dbname=zari"
	file := filepath.Join(t.TempDir(), "replicas")
	db := &sqlDatabase{
		section: fmt.Sprintf("<postgresql>\n dsn host=127.0.0.1,127.0.0.1 port=%d,%d %s target_session_attrs=read-write\n</postgresql>", standby.Port, primary.Port, place),
		url:     fmt.Sprintf("postgres://postgres@127.0.0.1:%d/zari?keep_history=%v", standby.Port, history),
		audit:   "postgresql:" + standby.DSN("zari"),
		history: history,
	}
	if naming == "replica-conf" {
		db.section = "<postgresql>\n dsn " + place + "\n</postgresql>"
		db.keys = " replica-conf " + file + "\n"
	}
	name := func(servers string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(servers), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	name(fmt.Sprintf("127.0.0.1:%d\n", primary.Port))

	m := &mixture{t: t, db: db}
	addr := m.serve()
	zeo := "zeo:" + addr
	m.hire(zeo, zeo, zeo, zeo, zeo, zeo)
	python[struct{ Done bool }](t, t.TempDir(), "setup.py", addr) // the tree
	writers := startWriters(t, t.TempDir(), addr, 0)
	progress := func(n int) {
		t.Helper()
		for _, w := range writers {
			w.progress(n)
		}
	}
	m.run(time.Minute, func(m *mixture, _ time.Time) {
		progress(50)
		if err := primary.Halt(signal); err != nil {
			t.Fatal(err)
		}
		name(fmt.Sprintf("127.0.0.1:%d\n127.0.0.1:%d\n", primary.Port, standby.Port))
		if err := standby.Promote(); err != nil {
			t.Fatal(err)
		}
		promoted := time.Now()
		progress(1)
		t.Logf("commits go on %v after the promotion", time.Since(promoted).Round(time.Millisecond))
		progress(50)
	})
	for _, w := range writers {
		w.finish()
	}
	acknowledged, tried := told(writers)
	keys := python[struct{ Keys []string }](t, t.TempDir(), "keys.py", "zeo:"+addr)
	if lost := (verified{Keys: keys.Keys}).lacks(acknowledged); len(lost) > 0 {
		t.Errorf("acknowledged, but lost: %v", lost)
	}
	t.Logf("%d commits tried by those who only write, %d acknowledged", len(tried), len(acknowledged))
	m.verify(1)
}
