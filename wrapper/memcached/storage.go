package memcached

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/internal/roster"
	"github.com/zaridb/zari/zodb"
)

// Options are the settings of a wrapper.
type Options struct {
	Servers []string      // HOST:PORT, or paths of sockets
	Prefix  string        // of all keys: databases that share servers may have the same one
	Timeout time.Duration // for an answer; default 100 ms
	Pause   time.Duration // how long a server is left alone that does not answer; default 10 s
	Expire  time.Duration // how long entries stay that nobody reads; default 0: as long as there is room
	Changed int           // objects that have changed since a checkpoint, until there is a new one; default 200,000

	Page *roster.Page // where operators find it, and that it closes; nil: nowhere

	Logger *slog.Logger     // default: none
	Clock  func() time.Time // default time.Now
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

func (o *Options) setDefaults() error {
	if len(o.Servers) == 0 {
		return errors.New("memcached: no servers are named")
	}
	if o.Timeout == 0 {
		o.Timeout = 100 * time.Millisecond
	}
	if o.Pause == 0 {
		o.Pause = 10 * time.Second
	}
	if o.Changed == 0 {
		o.Changed = 200_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return nil
}

// Storage is a storage whose newest records are in memcached as well.
type Storage struct {
	zodb.Storage
	prefix  string // of keys, with the database's name
	known   known
	servers *servers
	close   func() error

	hits, misses, failed, damaged atomic.Int64
}

var (
	_ zodb.Storage = (*Storage)(nil)
	_ zodb.Asser   = (*Storage)(nil)
)

// New wraps a storage, which tells of its commits and which the wrapper owns from now on,
// also when it fails. Whatever keeps records in memory must be around it.
func New(ctx context.Context, base zodb.Storage, o Options) (*Storage, error) {
	s, err := open(ctx, base, o)
	if err != nil {
		return nil, errors.Join(err, base.Close())
	}
	return s, nil
}

func open(ctx context.Context, base zodb.Storage, o Options) (*Storage, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	w, ok := zodb.As[zodb.Watcher](base)
	uuid := base.Info().UUID
	switch {
	case !ok:
		return nil, fmt.Errorf("memcached for %s, which does not tell of commits: %w", base.Info().Name, errors.ErrUnsupported)
	case uuid == [16]byte{}:
		return nil, fmt.Errorf("memcached for %s, which has no UUID that tells it from other databases: %w", base.Info().Name, errors.ErrUnsupported)
	}
	s := &Storage{Storage: base, prefix: prefixOf(o.Prefix, uuid)}
	s.known.limit = o.Changed
	var err error
	if s.servers, err = newServers(&o, &s.failed); err != nil {
		return nil, fmt.Errorf("memcached: %w", err)
	}
	stop := s.start(ctx, w)
	o.Page.Add(s)
	s.close = sync.OnceValue(func() error {
		o.Page.Close()
		stop()
		s.servers.close()
		return base.Close()
	})
	return s, nil
}

// start finds out what has changed since the checkpoint that other servers use, or makes one.
func (s *Storage) start(ctx context.Context, w zodb.Watcher) (stop func()) {
	s.known.mu.Lock() // holds changes back until the position is known
	after, stop := w.Observe(func(c zodb.Change) { s.announce(s.known.change(c)) })
	s.known.position = after
	s.known.mu.Unlock()
	s.announce(s.known.start(s.join(ctx, w, after)))
	return stop
}

// join returns the epoch of the checkpoint in memcached, or one that begins now.
func (s *Storage) join(ctx context.Context, w zodb.Watcher, now zodb.TID) epoch {
	checkpoint := s.checkpoint()
	if checkpoint != 0 && checkpoint <= now {
		oids, _, err := w.ChangesSince(ctx, checkpoint)
		if err == nil && len(oids) <= s.known.limit {
			changed := make(map[zodb.OID]zodb.TID, len(oids))
			for _, oid := range oids {
				changed[oid] = 0
			}
			return epoch{checkpoint, changed}
		}
	}
	s.announce(now)
	return epoch{now, make(map[zodb.OID]zodb.TID)}
}

// checkpoint returns the one in memcached, 0 if there is none.
func (s *Storage) checkpoint() zodb.TID {
	key := s.checkpointKey()
	item := s.servers.of(key).get(key)[key]
	if item == nil || len(item.Value) != header+checksum {
		return 0
	}
	at := tidOf(item.Value)
	if _, ok := decode(item.Value, noOID, at); !ok {
		return 0
	}
	return at
}

// announce tells other servers of a checkpoint.
func (s *Storage) announce(checkpoint zodb.TID) {
	if checkpoint != 0 { // there is no new one, or the database is empty
		s.servers.put(s.checkpointKey(), entry{oid: noOID, at: checkpoint, serial: checkpoint}.encode())
	}
}

// LoadBefore implements zodb.Storage.
func (s *Storage) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	if rec, ok := s.recall(oid, tid); ok {
		return rec, ctx.Err()
	}
	rec, err := s.Storage.LoadBefore(ctx, oid, tid)
	if err == nil && rec.Next == 0 {
		s.keep(oid, rec)
	}
	return rec, err
}

// recall asks memcached.
func (s *Storage) recall(oid zodb.OID, tid zodb.TID) (zodb.Record, bool) {
	q, ok := s.known.ask(oid, tid)
	if !ok {
		return zodb.Record{}, false
	}
	keys := make([]string, len(q.at))
	for i, at := range q.at {
		keys[i] = s.key(oid, at)
	}
	found := s.servers.of(keys[0]).get(keys...)
	for i, at := range q.at {
		item := found[keys[i]]
		if item == nil {
			continue
		}
		e, ok := decode(item.Value, oid, at)
		if !ok {
			s.damaged.Add(1)
			continue
		}
		s.hits.Add(1)
		rec := zodb.Record{Data: e.data, Serial: e.serial, AsOf: q.position}
		if i > 0 { // as of a checkpoint that will be given up
			s.keep(oid, rec)
		}
		return rec, true
	}
	s.misses.Add(1)
	return zodb.Record{}, false
}

// keep has a revision written that is the newest.
func (s *Storage) keep(oid zodb.OID, rec zodb.Record) {
	if len(rec.Data) > maxEntry-header-checksum {
		return
	}
	if at := s.known.fact(oid, rec.Serial, rec.AsOf); at != 0 {
		s.servers.put(s.key(oid, at), entry{oid, at, rec.Serial, rec.Data}.encode())
	}
}

// As finds every ability of the wrapped storage, a pack with the difference that what was
// kept before is not found any more.
func (s *Storage) As(target any) bool {
	if p, ok := target.(*zodb.Packer); ok {
		return zodb.Adapt(s.Storage, p, func(p zodb.Packer) zodb.Packer { return packer{p, s} })
	}
	return zodb.PassOn(s.Storage, target)
}

type packer struct {
	zodb.Packer
	s *Storage
}

// Pack implements zodb.Packer.
func (p packer) Pack(ctx context.Context, at time.Time, opts zodb.PackOptions) error {
	if !opts.DryRun {
		defer p.s.known.forget() // also what a pack that failed has removed
	}
	return p.Packer.Pack(ctx, at, opts)
}

// Stats are counts since the storage was opened.
type Stats struct {
	Hits    int64 // loads that memcached answered
	Misses  int64 // that it was asked for in vain
	Failed  int64 // questions that it did not answer
	Damaged int64 // entries that were not what they had to be
}

// Stats returns counts for operators.
func (s *Storage) Stats() Stats {
	return Stats{Hits: s.hits.Load(), Misses: s.misses.Load(), Failed: s.failed.Load(), Damaged: s.damaged.Load()}
}

// Close closes the wrapped storage.
func (s *Storage) Close() error { return s.close() }
