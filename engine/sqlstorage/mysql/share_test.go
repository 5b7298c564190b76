package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/internal/testmysql"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// seed commits objects 1..n with tid 10.
func seed(t *testing.T, d *DB, form sqlstorage.Form, n int) {
	t.Helper()
	var records []txnlog.Record
	for i := range n {
		records = append(records, data(zodb.OID(i+1), 0, "seed"))
	}
	if err := d.Append(t.Context(), &sqlstorage.Batch{Form: form, Txns: []*txnlog.Txn{txn(10, records...)}}); err != nil {
		t.Fatal(err)
	}
}

func lock(t *testing.T, d *DB, form sqlstorage.Form, written, read []int64) *locked {
	t.Helper()
	l, err := d.Lock(t.Context(), form, written, read, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return l.(*locked)
}

// none is a record that refers to nothing.
const none = "\x80\x03N.\x80\x03N."

// commit commits a new state of an object, which must have the serial.
func commit(t *testing.T, l sqlstorage.Locked, form sqlstorage.Form, oid, serial int64) error {
	t.Helper()
	return l.Commit(t.Context(), func(now time.Time, last int64, serials map[int64]int64) (*sqlstorage.Batch, error) {
		if d := time.Since(now); d > time.Minute || d < -time.Minute {
			t.Errorf("the database's clock says %v", now)
		}
		if serials[oid] != serial {
			return nil, &zodb.ConflictError{OID: zodb.OID(oid)}
		}
		tx := txn(zodb.TID(last+1), data(zodb.OID(oid), zodb.TID(serial), none))
		return &sqlstorage.Batch{Form: form, Txns: []*txnlog.Txn{tx}}, nil
	})
}

func TestLocks(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		a := create(t, form)
		b := open(t, a.opts)
		seed(t, a, form, 100)
		first := lock(t, a, form, []int64{4, 2, 999}, []int64{6})
		if s := first.Serials(); s[2] != 10 || s[4] != 10 || s[6] != 10 || s[999] != 0 || len(s) != 4 {
			t.Errorf("serials %v", s)
		}
		// Neighbours are free, and so is the shared one for readers.
		lock(t, b, form, []int64{1, 3, 5, 998, 1000}, []int64{6, 7}).Release()
		for _, c := range []struct {
			written, read []int64
			oid           zodb.OID
			isRead        bool
		}{
			{written: []int64{1, 2}, oid: 2},
			{written: []int64{6}, oid: 6},
			{written: []int64{1}, read: []int64{4}, oid: 4, isRead: true},
		} {
			_, err := b.Lock(t.Context(), form, c.written, c.read, 30*time.Millisecond)
			e, ok := errors.AsType[*sqlstorage.LockError](err)
			if !ok || !errors.Is(err, sqlstorage.ErrBusy) {
				t.Fatalf("lock of %v, %v: %v", c.written, c.read, err)
			}
			if e.OID != c.oid || e.Read != c.isRead {
				t.Errorf("lock of %v, %v: it says object %v, read %v", c.written, c.read, e.OID, e.Read)
			}
		}
		waits := make(chan error)
		go func() {
			l, err := b.Lock(t.Context(), form, []int64{2}, nil, 20*time.Second)
			if err == nil {
				if s := l.Serials()[2]; s != 11 {
					err = fmt.Errorf("serial %d, and it was changed by 11", s)
				}
				l.Release()
			}
			waits <- err
		}()
		if err := commit(t, first, form, 2, 10); err != nil {
			t.Fatal(err)
		}
		if err := <-waits; err != nil {
			t.Error(err)
		}
		want(t, a, "SELECT tid FROM object_state WHERE zoid=2 AND state_size=8", "11")
	})
}

func TestExtend(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		a := create(t, form)
		b := open(t, a.opts)
		seed(t, a, form, 10)
		first, second := lock(t, a, form, []int64{1}, []int64{5}), lock(t, b, form, []int64{2}, nil)
		if err := first.Extend(t.Context(), []int64{3, 5}, []int64{4}); err != nil {
			t.Fatal(err)
		}
		if s := first.Serials(); len(s) != 4 || s[3] != 10 || s[4] != 10 {
			t.Errorf("serials %v", s)
		}
		if err := first.Extend(t.Context(), []int64{2}, nil); !errors.Is(err, sqlstorage.ErrBusy) {
			t.Errorf("a lock of another: %v", err)
		}
		if err := second.Extend(t.Context(), nil, []int64{9}); err != nil {
			t.Error(err)
		}
	})
}

// TestCommitAfterItsSessionDied kills the session that holds the locks: with and
// without somebody who commits in between, or holds locks.
func TestCommitAfterItsSessionDied(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		a := create(t, form)
		b := open(t, a.opts)
		seed(t, a, form, 10)
		dead := func(oid int64) *locked {
			l := lock(t, a, form, []int64{oid}, nil)
			exec(t, b, fmt.Sprintf("KILL CONNECTION %d", l.conn.info.id))
			return l
		}
		if err := commit(t, dead(1), form, 1, 10); err != nil {
			t.Errorf("nobody came in between: %v", err)
		}
		l := dead(2)
		if err := commit(t, lock(t, b, form, []int64{2}, nil), form, 2, 10); err != nil {
			t.Fatal(err)
		}
		if _, ok := errors.AsType[*zodb.ConflictError](commit(t, l, form, 2, 10)); !ok {
			t.Error("somebody committed in between, and there is no conflict")
		}
		l = dead(3)
		other := lock(t, b, form, []int64{3}, nil)
		if err := commit(t, l, form, 3, 10); !errors.Is(err, sqlstorage.ErrBusy) {
			t.Errorf("somebody else has the lock: %v", err)
		}
		if err := commit(t, other, form, 3, 10); err != nil {
			t.Error(err)
		}
		want(t, a, "SELECT zoid, MAX(tid) FROM object_state WHERE tid > 10 GROUP BY zoid ORDER BY zoid", "1 11", "2 12", "3 13")
	})
}

func TestCommitIsRefused(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		d := create(t, form)
		seed(t, d, form, 3)
		mine := errors.New("mine")
		err := lock(t, d, form, []int64{1}, nil).Commit(t.Context(), func(time.Time, int64, map[int64]int64) (*sqlstorage.Batch, error) { return nil, mine })
		if err != mine {
			t.Errorf("error: %v", err)
		}
		if err := commit(t, lock(t, d, form, []int64{1}, nil), form, 1, 10); err != nil {
			t.Errorf("after that: %v", err)
		}
	})
}

func TestWaitEnds(t *testing.T) {
	d := create(t, sqlstorage.Free)
	if err := d.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}

// proxy stands between us and the server. While cut says so it lets statements with
// a word through, and then breaks the connection instead of passing the answer on;
// or breaks it before. The server is not told: to it the client is just silent.
type proxy struct {
	path   string
	word   []byte
	before atomic.Bool
	after  atomic.Bool
	cut    atomic.Int64 // how often it was cut
}

func newProxy(t *testing.T, server, word string) *proxy {
	t.Helper()
	p := &proxy{path: filepath.Join(t.TempDir(), "s"), word: []byte(word)}
	l, err := net.Listen("unix", p.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("unix", server)
			if err != nil {
				c.Close()
				return
			}
			go p.serve(c, s)
		}
	}()
	return p
}

func (p *proxy) serve(client, server net.Conn) {
	silent := make(chan bool, 1)
	go func() {
		defer client.Close()
		cutting := false
		buf := make([]byte, 1<<16)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-silent:
				cutting = true
			default:
			}
			if cutting && lastAnswer(buf[:n]) { // it is done
				return
			} else if cutting {
				continue
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 1<<16)
	for {
		n, err := client.Read(buf)
		if err != nil {
			if p.cut.Load() == 0 {
				server.Close()
			}
			return
		}
		if bytes.Contains(buf[:n], p.word) {
			if p.before.Load() {
				p.cut.Add(1)
				client.Close()
				return
			}
			if p.after.Load() {
				p.cut.Add(1)
				silent <- true
			}
		}
		if _, err := server.Write(buf[:n]); err != nil {
			client.Close()
			return
		}
	}
}

// lastAnswer reports whether the packets, each of which says OK, are those of the last
// of several statements: the status does not say that there are more.
func lastAnswer(packets []byte) bool {
	for len(packets) >= 9 {
		length := int(packets[0]) | int(packets[1])<<8 | int(packets[2])<<16
		if packets[4] != 0 || packets[7]&8 == 0 { // an error, or no more results
			return true
		}
		packets = packets[min(len(packets), 4+length):]
	}
	return false
}

// TestLostAnswers breaks the connection at COMMIT: before it reaches the server, and
// after the server has done it. Either way it is not known.
func TestLostAnswers(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			d := create(t, sqlstorage.Preserving)
			p := newProxy(t, d.opts.Addresses[0], ";COMMIT;")
			opts := d.opts
			opts.Addresses = []string{p.path}
			far := open(t, opts)
			seed(t, far, sqlstorage.Preserving, 1)
			(map[string]*atomic.Bool{"before": &p.before, "after": &p.after})[when].Store(true)
			err := far.Append(t.Context(), &sqlstorage.Batch{Txns: []*txnlog.Txn{txn(11, data(1, 10, "?"))}})
			if !errors.Is(err, zodb.ErrCommitUnknown) {
				t.Errorf("error: %v", err)
			}
			err = commit(t, lock(t, far, sqlstorage.Preserving, []int64{1}, nil), sqlstorage.Preserving, 1, map[string]int64{"before": 10, "after": 11}[when])
			if !errors.Is(err, zodb.ErrCommitUnknown) {
				t.Errorf("shared: %v", err)
			}
			if p.cut.Load() == 0 {
				t.Fatal("nothing was cut")
			}
			p.before.Store(false)
			p.after.Store(false)
			// Nothing of the lost sessions is left: the locks are free.
			last := map[string]zodb.TID{"before": 10, "after": 12}[when]
			err = far.Append(t.Context(), &sqlstorage.Batch{Epoch: 0, Txns: []*txnlog.Txn{txn(last+1, data(1, last, "next"))}})
			if err != nil {
				t.Error(err)
			}
			want(t, d, `SELECT MAX(tid) FROM "transaction"`, fmt.Sprint(int64(last+1)))
		})
	}
}

// TestConnectionLostBeforeCommit breaks it where nothing can have been committed.
func TestConnectionLostBeforeCommit(t *testing.T) {
	d := create(t, sqlstorage.Preserving)
	p := newProxy(t, d.opts.Addresses[0], "commit_row_lock")
	opts := d.opts
	opts.Addresses = []string{p.path}
	far := open(t, opts)
	p.before.Store(true)
	err := far.Append(t.Context(), &sqlstorage.Batch{Txns: []*txnlog.Txn{txn(11)}})
	if !errors.Is(err, sqlstorage.ErrLost) || errors.Is(err, zodb.ErrCommitUnknown) {
		t.Errorf("error: %v", err)
	}
	if n := p.cut.Load(); n != 2 {
		t.Errorf("it was tried %d times", n)
	}
}

// TestServerStartsAgain kills the server: what is idle breaks, and nobody notices.
func TestServerStartsAgain(t *testing.T) {
	s := testmysql.Start(t, testmysql.Options{Fsync: true})
	d := open(t, options(t, s.Database(t)))
	createIn(t, d, sqlstorage.Preserving)
	seed(t, d, sqlstorage.Preserving, 3)
	vote := lock(t, d, sqlstorage.Preserving, []int64{1}, nil)
	if err := s.Halt("KILL"); err != nil {
		t.Fatal(err)
	}
	err := d.Read(t.Context(), func(s sqlstorage.Session) error {
		_, err := s.Exec(t.Context(), "SELECT 1")
		return err
	})
	if err == nil {
		t.Error("a server that is down answers")
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	want(t, d, `SELECT MAX(tid) FROM "transaction"`, "10")
	if err := commit(t, vote, sqlstorage.Preserving, 1, 10); err != nil {
		t.Errorf("the vote: %v", err)
	}
	if err := d.Append(t.Context(), &sqlstorage.Batch{Txns: []*txnlog.Txn{txn(12, data(2, 10, "again"))}}); err != nil {
		t.Errorf("the next: %v", err)
	}
}

// TestLeaseSurvivesItsSession has the lease's session killed.
func TestLeaseSurvivesItsSession(t *testing.T) {
	d := create(t, sqlstorage.Free)
	lease, err := d.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pack, err := d.PackLock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []io.Closer{lease, pack} {
		a := l.(*advisory)
		exec(t, d, fmt.Sprintf("KILL CONNECTION %d", a.conn.info.id))
		a.touch()
	}
	if _, err := open(t, d.opts).Lease(t.Context()); !errors.Is(err, sqlstorage.ErrBusy) {
		t.Errorf("the lease is free: %v", err)
	}
	if err := lease.Close(); err != nil {
		t.Errorf("Close of the lease: %v", err)
	}
	if err := pack.Close(); err == nil {
		t.Error("a pack lock that was lost is given up without a word")
	}
}

// TestLocksOfVeryMany has more oids than a statement lists and a text takes.
func TestLocksOfVeryMany(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		d := create(t, form)
		seed(t, d, form, 100)
		many := make([]int64, 10*listed)
		for i := range many {
			many[i] = 1<<60 + int64(i)
		}
		many[0], many[len(many)-1] = 50, 60
		l := lock(t, d, form, many, []int64{1})
		if s := l.Serials(); len(s) != len(many)+1 || s[50] != 10 || s[60] != 10 || s[1] != 10 || s[many[5]] != 0 {
			t.Errorf("%d serials, %d, %d, %d", len(s), s[50], s[60], s[1])
		}
		if _, err := open(t, d.opts).Lock(t.Context(), form, []int64{60}, nil, 10*time.Millisecond); !errors.Is(err, sqlstorage.ErrBusy) {
			t.Errorf("the last of them is not locked: %v", err)
		}
		if err := commit(t, l, form, 60, 10); err != nil {
			t.Error(err)
		}
	})
}

func TestSorted(t *testing.T) {
	if got := sorted([]int64{3, 1, 3, 2, 1}); !slices.Equal(got, []int64{1, 2, 3}) {
		t.Errorf("sorted: %v", got)
	}
}
