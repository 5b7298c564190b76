package memcached

import (
	"context"
	"errors"
	"hash/crc32"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// servers are the memcached servers. A key belongs to one of them.
type servers struct {
	list []*server
	opts *Options

	writes chan *memcache.Item
	queued atomic.Int64 // bytes in writes
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// server is one of them.
type server struct {
	address string
	client  *memcache.Client
	rest    atomic.Int64 // it is left alone until then, in nanoseconds; 0: it is not
	log     *slog.Logger
	opts    *Options
	failed  *atomic.Int64
}

// So many entries, and so many bytes of them, may wait to be written.
const (
	queuedWrites = 1 << 14
	queuedBytes  = 16 << 20
)

// maxIdle is how many connections to a server stay open.
const maxIdle = 16

func newServers(opts *Options, failed *atomic.Int64) (*servers, error) {
	s := &servers{opts: opts, writes: make(chan *memcache.Item, queuedWrites)}
	for _, address := range opts.Servers {
		var one memcache.ServerList
		if err := one.SetServers(address); err != nil {
			return nil, err
		}
		client := memcache.NewFromSelector(&one)
		client.Timeout, client.MaxIdleConns, client.DialContext = opts.Timeout, maxIdle, opts.Dial
		s.list = append(s.list, &server{address: address, client: client, log: opts.Logger, opts: opts, failed: failed})
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for range s.list {
		s.wg.Go(func() { s.write(ctx) })
	}
	return s, nil
}

func (s *servers) close() {
	s.cancel()
	s.wg.Wait()
	for _, x := range s.list {
		x.client.Close()
	}
}

// of returns the server of a key. All of one object are on the same one: the tid, which
// comes last, does not decide.
func (s *servers) of(key string) *server {
	object := key[:strings.LastIndexByte(key, ':')]
	return s.list[crc32.ChecksumIEEE([]byte(object))%uint32(len(s.list))]
}

// ready reports whether the server may be asked. When it has been left alone for long
// enough, it is for one load to try.
func (x *server) ready() bool {
	rest := x.rest.Load()
	if rest == 0 {
		return true
	}
	now := x.opts.Clock().UnixNano()
	return now >= rest && x.rest.CompareAndSwap(rest, now+int64(x.opts.Pause))
}

// heard takes the outcome of a question into account. It reports whether there is an
// answer.
func (x *server) heard(err error) bool {
	if err == nil || errors.Is(err, memcache.ErrCacheMiss) {
		if x.rest.Swap(0) != 0 {
			x.log.Info("memcached answers again", "server", x.address)
		}
		return err == nil
	}
	x.failed.Add(1)
	if x.rest.Swap(x.opts.Clock().Add(x.opts.Pause).UnixNano()) == 0 {
		x.log.Warn("memcached does not answer, and is left alone for a while", "server", x.address, "for", x.opts.Pause, "err", err)
	}
	return false
}

// get returns the values of the keys that are there; they are of one server.
func (x *server) get(keys ...string) map[string]*memcache.Item {
	if !x.ready() {
		return nil
	}
	if len(keys) == 1 {
		item, err := x.client.Get(keys[0])
		if !x.heard(err) {
			return nil
		}
		return map[string]*memcache.Item{keys[0]: item}
	}
	items, err := x.client.GetMulti(keys)
	if !x.heard(err) {
		return nil
	}
	return items
}

// put leaves an entry to be written, unless many are waiting.
func (s *servers) put(key string, value []byte) {
	size := int64(len(value))
	if s.queued.Add(size) > queuedBytes {
		s.queued.Add(-size)
		return
	}
	select {
	case s.writes <- &memcache.Item{Key: key, Value: value, Expiration: int32(s.opts.Expire / time.Second)}:
	default:
		s.queued.Add(-size)
	}
}

// write writes entries until ctx ends.
func (s *servers) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case item := <-s.writes:
			s.queued.Add(-int64(len(item.Value)))
			if x := s.of(item.Key); x.ready() {
				x.heard(x.client.Set(item))
			}
		}
	}
}
