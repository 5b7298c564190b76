package postgres_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/internal/testpg"
	"github.com/zaridb/zari/zodb"
)

// cutter stands between client and server, and cuts a connection when the client
// sends a word: before that is passed on, or instead of the answer.
type cutter struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	word  []byte // "" passes everything
	after bool   // pass the word on, and cut at the answer
}

func newCutter(t *testing.T, server string) *cutter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &cutter{listener: l, server: server}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.pass(conn)
		}
	}()
	return c
}

// cut arms the cutter for one time.
func (c *cutter) cut(word string, after bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.word, c.after = []byte(word), after
}

func (c *cutter) hit(b []byte) (hit, after bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.word) == 0 || !bytes.Contains(b, c.word) {
		return false, false
	}
	c.word = nil
	return true, c.after
}

func (c *cutter) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("unix", c.server)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		io.Copy(client, server)
		client.Close()
	}()
	buf := make([]byte, 1<<20)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		hit, after := c.hit(buf[:n])
		if hit {
			client.Close() // no answer gets through
		}
		if !hit || after {
			server.Write(buf[:n])
		}
		if hit {
			return // what was written is read before the end is
		}
	}
}

// behindCutter opens a database through a cutter.
func behindCutter(t *testing.T, form sqlstorage.Form) (*postgres.DB, *cutter) {
	dsn := testpg.Database(t)
	create(t, open(t, postgres.Options{DSN: dsn}), form)
	fields := strings.Fields(dsn)
	dir, port := strings.TrimPrefix(fields[0], "host="), strings.TrimPrefix(fields[1], "port=")
	c := newCutter(t, dir+"/.s.PGSQL."+port)
	_, mine, err := net.SplitHostPort(c.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return open(t, postgres.Options{DSN: dsn + " host=127.0.0.1 sslmode=disable port=" + mine}), c
}

// The names of statements that pgx prepares are no help here: it sends their text only
// once. So what is cut at stands in the data.
func TestAppendWithoutAnAnswerIsUnknown(t *testing.T) {
	for _, form := range forms {
		t.Run(word(form), func(t *testing.T) {
			db, c := behindCutter(t, form)
			mustAppend(t, db, batch(form, txn(10, data(1, 0, "first"))))
			for i, after := range []bool{false, true} {
				tid := zodb.TID(20 + 10*i)
				c.cut("here", after)
				err := db.Append(t.Context(), batch(form, txn(tid, data(zodb.OID(2+i), 0, "cut here"))))
				if !errors.Is(err, zodb.ErrCommitUnknown) {
					t.Errorf("Append = %v, want ErrCommitUnknown", err)
				}
			}
			if err := db.Append(t.Context(), batch(form, txn(40, data(5, 0, "then")))); err != nil {
				t.Errorf("the next Append, on another connection: %v", err)
			}
		})
	}
}

func TestAppendThatNeverBeganIsTriedAgain(t *testing.T) {
	dsn := testpg.Database(t)
	db := open(t, postgres.Options{DSN: dsn})
	create(t, db, sqlstorage.Free)
	for i := range 3 {
		mustAppend(t, db, batch(sqlstorage.Free, txn(zodb.TID(10+i), data(1, 0, "x"))))
		run(t, dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	}
	if got := states(t, db); len(got) != 1 || got[0].tid != 12 {
		t.Errorf("rows are %v", got)
	}
}

func TestReadIsTriedAgain(t *testing.T) {
	dsn := testpg.Database(t)
	db := open(t, postgres.Options{DSN: dsn})
	calls := 0
	err := db.Read(t.Context(), func(s sqlstorage.Session) error {
		if calls++; calls == 1 {
			run(t, dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		}
		for _, err := range s.Query(t.Context(), "SELECT 1") {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || calls != 2 {
		t.Errorf("Read = %v after %d calls, want success with the second", err, calls)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dsn := testpg.Database(t)
	for _, c := range []struct{ dsn, want string }{
		{dsn + " dbname=none", "none"},
		{dsn + " user=nobody_here password=secret", "nobody_here"},
		{"host=/there/is/no port=1 dbname=x", "/there/is/no:1"},
		{dsn + " host=127.0.0.1 sslmode=nonsense", "sslmode"},
		{dsn + " hostaddr=127.0.0.1", "hostaddr"},
	} {
		_, err := postgres.Open(t.Context(), postgres.Options{DSN: c.dsn, Patience: -1})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Open(%s) = %v, want an error that names %q", c.dsn, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func TestLibpqsKeywordsAreTaken(t *testing.T) {
	db := open(t, postgres.Options{DSN: testpg.Database(t) + " keepalives=1 keepalives_idle=5 gssencmode=disable sslcompression=0"})
	if !strings.HasPrefix(db.Name(), "postgresql:///") {
		t.Errorf("Name() = %s", db.Name())
	}
}
