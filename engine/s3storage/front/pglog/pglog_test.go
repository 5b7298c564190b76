package pglog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/front/fronttest"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/internal/testpg"
)

func open(t testing.TB, dsn string) *Place {
	t.Helper()
	p, err := Open(t.Context(), Options{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestContract(t *testing.T) {
	var mu sync.Mutex
	dsns := make(map[front.Place]string)
	again := func(t testing.TB, p front.Place) front.Place {
		mu.Lock()
		defer mu.Unlock()
		next := open(t, dsns[p])
		dsns[next] = dsns[p]
		return next
	}
	fronttest.Run(t, fronttest.Harness{
		New: func(t testing.TB) front.Place {
			dsn := testpg.Database(t)
			p := open(t, dsn)
			mu.Lock()
			defer mu.Unlock()
			dsns[p] = dsn
			return p
		},
		Peer: again,
		Reopen: func(t testing.TB, p front.Place) front.Place {
			p.Close()
			return again(t, p)
		},
	})
}

// Several servers may make the tables at the same time.
func TestTablesAreMadeOnce(t *testing.T) {
	dsn := testpg.Database(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p, err := Open(t.Context(), Options{DSN: dsn})
			if err != nil {
				t.Error(err)
				return
			}
			p.Close()
		})
	}
	wg.Wait()
}

// A commit waits for the disk, whatever the role or the server is set to.
func TestCommitsAreDurable(t *testing.T) {
	for setting, want := range map[string]string{"off": "on", "local": "local", "on": "on"} {
		dsn := testpg.Database(t) + " options='-c synchronous_commit=" + setting + "'"
		var got string
		if err := open(t, dsn).pool.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&got); err != nil || got != want {
			t.Errorf("set to %s: %s, %v; want %s", setting, got, err, want)
		}
	}
}

// A password is in no message.
func TestNoPasswordIsTold(t *testing.T) {
	for _, dsn := range []string{
		"host=127.0.0.1 port=1 user=u password=secret dbname=d", "postgresql://u:secret@127.0.0.1:1/d", "host=x password=secret port=none",
	} {
		_, err := Open(t.Context(), Options{DSN: dsn})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}

// An old copy of the database is not taken for the log.
func TestRestoredCopy(t *testing.T) {
	p := open(t, testpg.Database(t))
	id := layout.NewID()
	l, err := p.Create(t.Context(), id, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	for slot := uint64(1); slot <= 3; slot++ {
		if err := l.Put(t.Context(), slot, 1, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, sql := range []string{"UPDATE zari_log SET slot = 1", "DELETE FROM zari_log_slot WHERE slot > 1"} {
		if _, err := p.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Put(t.Context(), 4, 1, []byte("x")); !errors.Is(err, front.ErrBehind) {
		t.Errorf("Put: %v", err)
	}
	if _, err := p.pool.Exec(t.Context(), "DELETE FROM zari_log"); err != nil {
		t.Fatal(err)
	}
	if err := l.Put(t.Context(), 2, 1, []byte("x")); !errors.Is(err, front.ErrBehind) || !errors.Is(err, front.ErrNoLog) {
		t.Errorf("Put without the log: %v", err)
	}
}

// A Put whose answer is lost says that nothing is known; the slot tells.
func TestLostAnswer(t *testing.T) {
	dsn := testpg.Database(t)
	proxy := startProxy(t, dsn)
	p, err := Open(t.Context(), Options{DSN: proxy.dsn, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	l, err := p.Create(t.Context(), layout.NewID(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Put(t.Context(), 1, 1, []byte("first")); err != nil {
		t.Fatal(err)
	}
	proxy.mute()
	err = l.Put(t.Context(), 2, 1, []byte("second"))
	if err == nil || errors.Is(err, front.ErrTaken) || errors.Is(err, front.ErrBehind) {
		t.Fatalf("without an answer: %v", err)
	}
	proxy.speak()
	err = l.Put(t.Context(), 2, 1, []byte("second"))
	for ; err != nil && !errors.Is(err, front.ErrTaken); err = l.Put(t.Context(), 2, 1, []byte("second")) {
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	if got, err := l.Get(t.Context(), 2); err != nil || string(got) != "second" {
		t.Errorf("slot 2: %q, %v", got, err)
	}
}

// proxy stands between, and can swallow what the server says.
type proxy struct {
	dsn string

	mu    sync.Mutex
	muted bool
	conns []net.Conn
}

func startProxy(t *testing.T, dsn string) *proxy {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &proxy{dsn: fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=%s sslmode=disable",
		listener.Addr().(*net.TCPAddr).Port, config.User, config.Database)}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		x.speak()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", config.Port))
			if err != nil {
				client.Close()
				continue
			}
			x.mu.Lock()
			x.conns = append(x.conns, client, server)
			x.mu.Unlock()
			wg.Go(func() { x.copy(server, client, false) })
			wg.Go(func() { x.copy(client, server, true) })
		}
	})
	return x
}

func (x *proxy) copy(to, from net.Conn, answers bool) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		x.mu.Lock()
		swallow := answers && x.muted
		x.mu.Unlock()
		if !swallow {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

func (x *proxy) mute() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.muted = true
}

// speak lets answers through again, on new connections.
func (x *proxy) speak() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.muted = false
	for _, c := range x.conns {
		c.Close()
	}
	x.conns = nil
}

// A server that cannot be reached is an error that says nothing, in bounded time.
func TestUnreachable(t *testing.T) {
	server := testpg.Start(t, testpg.Options{})
	p, err := Open(t.Context(), Options{DSN: server.DSN("postgres"), Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	l, err := p.Create(t.Context(), layout.NewID(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Put(t.Context(), 1, 1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := server.Halt("INT"); err != nil {
		t.Fatal(err)
	}
	if err := l.Put(context.Background(), 2, 1, []byte("x")); err == nil || errors.Is(err, front.ErrTaken) || errors.Is(err, front.ErrBehind) {
		t.Errorf("Put: %v", err)
	}
	if _, err := l.Get(t.Context(), 1); err == nil || errors.Is(err, front.ErrNone) {
		t.Errorf("Get: %v", err)
	}
	if _, err := l.Last(t.Context()); err == nil || errors.Is(err, front.ErrNoLog) {
		t.Errorf("Last: %v", err)
	}
	if err := server.Run(); err != nil {
		t.Fatal(err)
	}
	if err := l.Put(t.Context(), 2, 1, []byte("x")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
