package server

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// finder finds storages by names such as view/a or view/a/again, and remembers
// what was opened and closed.
type finder struct {
	mu     sync.Mutex
	opened []string
	closed []string
	fail   error
}

// found is a read-only storage that tells when it is closed.
type found struct {
	*store.Store
	finder *finder
	key    string
}

func (f found) Info() zodb.Info { return zodb.Info{ReadOnly: true} }

func (f found) Close() error {
	f.finder.mu.Lock()
	defer f.finder.mu.Unlock()
	f.finder.closed = append(f.finder.closed, f.key)
	return f.Store.Close()
}

func (f *finder) find(name string) (string, func(context.Context) (zodb.Storage, error), error) {
	rest, ok := strings.CutPrefix(name, "view/")
	if !ok {
		return "", nil, errors.New("no view: " + name)
	}
	key := strings.TrimSuffix(rest, "/again")
	return key, func(ctx context.Context) (zodb.Storage, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.fail != nil {
			return nil, f.fail
		}
		f.opened = append(f.opened, key)
		s, err := store.Open(ctx, memstorage.New(memstorage.Options{}), store.Options{})
		return found{s, f, key}, err
	}, nil
}

// took returns what was opened and closed, in order.
func (f *finder) took() (opened, closed string) {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.opened, " "), strings.Join(f.closed, " ")
}

func (f *finder) expect(t *testing.T, opened, closed string) {
	t.Helper()
	if o, c := f.took(); o != opened || c != closed {
		t.Errorf("opened %q, closed %q; want %q, %q", o, c, opened, closed)
	}
}

// ask registers for a storage.
func (s *service) ask(t *testing.T, name string) (*client, error) {
	t.Helper()
	c := s.connect(t, wire.Pickle)
	_, err := c.call("register", name, true)
	return c, err
}

func (s *service) mustAsk(t *testing.T, name string) *client {
	t.Helper()
	c, err := s.ask(t, name)
	if err != nil {
		t.Fatalf("register(%s): %v", name, err)
	}
	return c
}

// leave ends the connection, and waits until the server has noticed.
func (c *client) leave() {
	c.conn.Close()
	synctest.Wait()
}

func TestExtraStoragesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(finder)
		s := serve(t, Options{Find: f.find})
		a, b := s.mustAsk(t, "view/a"), s.mustAsk(t, "view/a/again")
		for _, c := range []*client{a, b} {
			if info := c.mustCall("get_info"); info == nil {
				t.Error("no info")
			}
		}
		f.expect(t, "a", "")
		a.leave()
		time.Sleep(time.Hour)
		f.expect(t, "a", "") // b is still there
		b.leave()
		time.Sleep(59 * time.Second)
		c := s.mustAsk(t, "view/a")
		time.Sleep(time.Hour)
		f.expect(t, "a", "")
		c.leave()
		time.Sleep(61 * time.Second)
		f.expect(t, "a", "a")
		s.mustAsk(t, "view/a")
		f.expect(t, "a a", "a")
		s.Close()
		f.expect(t, "a a", "a a")
	})
}

func TestExtraStoragesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(finder)
		s := serve(t, Options{Find: f.find, MaxExtra: 2})
		a, b := s.mustAsk(t, "view/a"), s.mustAsk(t, "view/b")
		if _, err := s.ask(t, "view/c"); err == nil || !strings.Contains(err.Error(), "2 storages are open") {
			t.Errorf("one too many: %v", err)
		}
		b.leave()
		time.Sleep(time.Second)
		a.leave()
		s.mustAsk(t, "view/c") // in place of the one that was left first
		f.expect(t, "a b c", "b")
		s.mustAsk(t, "view/a") // is still open
		f.expect(t, "a b c", "b")
	})
}

func TestExtraStorageIsReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(finder)
		s := serve(t, Options{Find: f.find, MaxExtra: 1})
		c := s.connect(t, wire.Pickle)
		if _, err := c.call("register", "view/a", false); !errors.Is(err, zodb.ErrReadOnly) {
			t.Errorf("registering to write: %v", err)
		}
		s.mustAsk(t, "view/b") // what was refused takes no place
		c.mustCall("register", "1", false)
		f.expect(t, "a b", "a")
	})
}

func TestExtraStorageThatCannotBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &finder{fail: errors.New("out of order")}
		s := serve(t, Options{Find: f.find, MaxExtra: 1})
		for range 3 {
			if _, err := s.ask(t, "view/a"); err == nil || !strings.Contains(err.Error(), "out of order") {
				t.Errorf("opening failed with %v", err)
			}
		}
		f.mu.Lock()
		f.fail = nil
		f.mu.Unlock()
		s.mustAsk(t, "view/a")
		if _, err := s.ask(t, "2"); err == nil || !strings.Contains(err.Error(), "no view: 2") {
			t.Errorf("a name that is not found: %v", err)
		}
	})
}

// remote is a storage of another server, which packs until it is told to stop.
type remote struct {
	found
	sync error
	pack chan struct{}
}

func (r remote) Info() zodb.Info            { return zodb.Info{} }
func (r remote) Sync(context.Context) error { return r.sync }

func (r remote) Pack(context.Context, time.Time, zodb.PackOptions) error {
	<-r.pack
	return nil
}

func (r remote) As(target any) bool {
	switch p := target.(type) {
	case *zodb.Syncer:
		return zodb.SetAs[zodb.Syncer](p, r)
	case *zodb.Packer:
		return zodb.SetAs[zodb.Packer](p, r)
	}
	return r.found.As(target)
}

// finds makes storages of finders remote ones.
func (r remote) finds(find Find) Find {
	return func(name string) (string, func(context.Context) (zodb.Storage, error), error) {
		key, open, err := find(name)
		return key, func(ctx context.Context) (zodb.Storage, error) {
			s, err := open(ctx)
			if err != nil {
				return nil, err
			}
			r.found = s.(found)
			return r, nil
		}, err
	}
}

func TestExtraStorageThatIsNotReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(finder)
		s := serve(t, Options{Find: remote{sync: errors.New("out of reach")}.finds(f.find), MaxExtra: 1})
		for _, name := range []string{"view/a", "view/b"} {
			if _, err := s.ask(t, name); err == nil || !strings.Contains(err.Error(), "out of reach") {
				t.Errorf("register(%s): %v", name, err)
			}
		}
		f.expect(t, "a b", "a") // what was refused takes no place
	})
}

func TestExtraStorageStaysForItsPack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(finder)
		r := remote{pack: make(chan struct{})}
		s := serve(t, Options{Find: r.finds(f.find)})
		c := s.connect(t, wire.Pickle)
		c.mustCall("register", "view/a", false)
		c.mustCall("pack", 1e9, false)
		c.leave()
		time.Sleep(time.Hour)
		f.expect(t, "a", "")
		close(r.pack)
		time.Sleep(time.Hour)
		f.expect(t, "a", "a")
	})
}

func TestNoExtraStorages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{})
		if _, err := s.ask(t, "2"); err == nil || !strings.Contains(err.Error(), "unknown storage: 2") {
			t.Errorf("an unknown name: %v", err)
		}
	})
}

// Many ask, use, and leave at the same time.
func TestExtraStoragesManyClients(t *testing.T) {
	f := new(finder)
	s := serve(t, Options{Find: f.find, MaxExtra: 3, ExtraIdle: time.Millisecond})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			h, err := s.extras.acquire("view/" + string(rune('a'+i%5)))
			if err != nil {
				return // all in use
			}
			if _, err := h.storage.NewOIDs(context.Background(), 1); err != nil {
				t.Errorf("in use, and closed: %v", err)
			}
			s.extras.release(h)
		})
	}
	wg.Wait()
	s.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.opened) == 0 || len(f.opened) != len(f.closed) {
		t.Errorf("opened %v, closed %v", f.opened, f.closed)
	}
}
