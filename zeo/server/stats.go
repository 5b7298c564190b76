package server

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zaridb/zari/zodb"
)

// stats counts what one storage's clients do. The names are those of ZEO's
// server_status.
type stats struct {
	start     time.Time
	loads     atomic.Int64
	stores    atomic.Int64
	commits   atomic.Int64
	aborts    atomic.Int64
	conflicts atomic.Int64
	resolved  atomic.Int64
	active    atomic.Int64        // transactions that are open
	waiting   atomic.Int64        // votes that are not answered yet
	finish    prometheus.Observer // how long tpc_finish took
	pack      packStats

	mu    sync.Mutex
	locks map[*transaction]time.Time // the voted transactions
}

func newStats(clock func() time.Time, finish prometheus.Observer) *stats {
	return &stats{start: clock(), locks: make(map[*transaction]time.Time), finish: finish}
}

func (s *stats) locked(t *transaction, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locks[t] = since
}

func (s *stats) unlocked(t *transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.locks, t)
}

// oldestLock returns when the transaction got its locks that holds them longest.
func (s *stats) oldestLock() (oldest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.locks {
		if oldest.IsZero() || t.Before(oldest) {
			oldest = t
		}
	}
	return oldest
}

// Status is what ZEO's server_status tells of a storage.
type Status struct {
	Storage           string
	Loads             int64
	Stores            int64
	Commits           int64
	Aborts            int64
	Conflicts         int64
	ConflictsResolved int64
	ActiveTxns        int64
	Waiting           int64
	Connections       int
	Start             time.Time
	LockTime          time.Time // zero: nobody holds locks
	TimeoutAlive      bool      // there is a transaction timeout
	LastTransaction   zodb.TID
	Packing           bool
	PackDone          float64 // the part that is done of the pack under way
}

// Status returns the state of every storage, in the order of their names.
func (s *Server) Status() []Status {
	var all []Status
	for _, id := range s.Storages() {
		all = append(all, s.hubs[id].status())
	}
	return all
}

func (h *hub) status() Status {
	h.mu.Lock()
	view, connections := h.view, len(h.sessions)
	h.mu.Unlock()
	s := h.stats
	return Status{
		Storage: h.id, Loads: s.loads.Load(), Stores: s.stores.Load(), Commits: s.commits.Load(),
		Aborts: s.aborts.Load(), Conflicts: s.conflicts.Load(), ConflictsResolved: s.resolved.Load(),
		ActiveTxns: s.active.Load(), Waiting: s.waiting.Load(), Connections: connections,
		Start: s.start, LockTime: s.oldestLock(), TimeoutAlive: h.opts.TransactionTimeout > 0, LastTransaction: view,
		Packing: s.pack.running.Load() > 0, PackDone: s.pack.part(),
	}
}

// Pairs returns the status under the names that ZEO gives it.
func (s Status) Pairs() []any {
	var lock any
	if !s.LockTime.IsZero() {
		lock = seconds(s.LockTime)
	}
	var alive any = "stub"
	if s.TimeoutAlive {
		alive = true
	}
	return []any{
		"loads", s.Loads, "stores", s.Stores, "commits", s.Commits, "aborts", s.Aborts,
		"active_txns", s.ActiveTxns, "lock_time", lock, "conflicts", s.Conflicts,
		"conflicts_resolved", s.ConflictsResolved, "connections", int64(s.Connections),
		"waiting", s.Waiting, "start", s.Start.Local().Format(time.ANSIC),
		"timeout-thread-is-alive", alive, "last-transaction", s.LastTransaction.String(),
	}
}

// seconds is an instant as Python's time.time gives it.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
