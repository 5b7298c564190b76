// Package delay has a storage whose loads take longer than they need to.
//
// It is for tests: what a reader was told while its load was under way must still
// come out right, and a slow storage makes such moments frequent. A configuration
// can only name it as Python's ZEO does, by %import ZEO.tests.
package delay

import (
	"context"
	"time"

	"github.com/zaridb/zari/zodb"
)

// Storage passes everything on to the storage that it wraps, and waits a while
// after each load before it returns what it got.
type Storage struct {
	zodb.Storage
	delay time.Duration
}

var (
	_ zodb.Storage = (*Storage)(nil)
	_ zodb.Asser   = (*Storage)(nil)
)

// New wraps a storage.
func New(base zodb.Storage, delay time.Duration) *Storage { return &Storage{base, delay} }

// LoadBefore loads, waits, and returns.
func (s *Storage) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	rec, err := s.Storage.LoadBefore(ctx, oid, tid)
	timer := time.NewTimer(s.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return rec, err
}

// As finds every ability of the wrapped storage: none of them is transformed.
func (s *Storage) As(target any) bool { return zodb.PassOn(s.Storage, target) }
