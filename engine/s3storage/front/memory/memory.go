// Package memory is a front for tests: its slots are objects of a fake bucket, so that replies get
// lost and Puts come late by the rules of that.
package memory

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
)

// Memory is what all Places over it share: what has been trimmed, and after which slots logs
// begin.
type Memory struct {
	kind layout.FrontKind

	mu   sync.Mutex
	logs map[layout.ID]*log
}

type log struct {
	first   uint64 // the slot that it was created behind
	epoch   uint64 // of the last Put that is known to have succeeded
	trimmed uint64
}

// New returns a Memory without logs.
func New(kind layout.FrontKind) *Memory {
	return &Memory{kind: kind, logs: make(map[layout.ID]*log)}
}

// Place is a Memory through a client of a fake bucket, which need not be the one of the
// database.
type Place struct {
	memory  *Memory
	objects *fake.Store
}

var (
	_ front.Place = (*Place)(nil)
	_ front.Log   = (*Log)(nil)
)

// Open returns the Memory through a client. Objects are never deleted, so that a slot number
// is not used twice.
func (m *Memory) Open(objects *fake.Store) *Place { return &Place{m, objects} }

// Key is the key of a slot in the fake bucket.
func Key(id layout.ID, slot uint64) string { return fmt.Sprintf("front/%v/%020d", id, slot) }

// SlotOf returns the slot in a key.
func SlotOf(key string) (slot uint64, ok bool) {
	if !strings.HasPrefix(key, "front/") {
		return 0, false
	}
	slot, err := strconv.ParseUint(key[strings.LastIndexByte(key, '/')+1:], 10, 64)
	return slot, err == nil
}

// Kind implements front.Place.
func (p *Place) Kind() layout.FrontKind { return p.memory.kind }

func (p *Place) String() string { return fmt.Sprintf("memory (%v)", p.objects) }

// MaxObject implements front.Place.
func (p *Place) MaxObject() int64 { return 1 << 30 }

// Untrim forgets how far a log has been trimmed, as an old copy of it does.
func (m *Memory) Untrim(id layout.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logs[id].trimmed = m.logs[id].first
}

// Close implements front.Place.
func (p *Place) Close() error { return p.objects.Close() }

// Create implements front.Place.
func (p *Place) Create(_ context.Context, id layout.ID, last, _ uint64) (front.Log, error) {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	l := &log{first: last, trimmed: last}
	p.memory.logs[id] = l
	return &Log{p, id, l}, nil
}

// Open implements front.Place.
func (p *Place) Open(_ context.Context, id layout.ID) (front.Log, error) {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	l := p.memory.logs[id]
	if l == nil {
		return nil, front.ErrNoLog
	}
	return &Log{p, id, l}, nil
}

// Log is one log.
type Log struct {
	place *Place
	id    layout.ID
	log   *log
}

// Put implements front.Log.
func (l *Log) Put(ctx context.Context, slot, epoch uint64, object []byte) error {
	if err := l.fits(slot, epoch); err != nil {
		return err
	}
	_, err := l.place.objects.Put(ctx, Key(l.id, slot), object, objstore.IfAbsent)
	if errors.Is(err, objstore.ErrExists) {
		return front.ErrTaken
	}
	if err == nil {
		l.place.memory.mu.Lock()
		defer l.place.memory.mu.Unlock()
		l.log.epoch = max(l.log.epoch, epoch)
	}
	return err
}

func (l *Log) fits(slot, epoch uint64) error {
	l.place.memory.mu.Lock()
	defer l.place.memory.mu.Unlock()
	last := l.last()
	switch {
	case slot <= last:
		return front.ErrTaken
	case slot > last+1:
		return front.ErrBehind
	case epoch < l.log.epoch:
		return fmt.Errorf("slot %d: epoch %d is over", slot, epoch)
	}
	return nil
}

// Get implements front.Log.
func (l *Log) Get(ctx context.Context, slot uint64) ([]byte, error) {
	object, _, err := objstore.Read(ctx, l.place.objects, Key(l.id, slot), objstore.Range{})
	l.place.memory.mu.Lock()
	defer l.place.memory.mu.Unlock()
	if errors.Is(err, objstore.ErrNotExist) || slot <= l.log.trimmed {
		return nil, front.ErrNone
	}
	return object, err
}

// Last implements front.Log.
func (l *Log) Last(context.Context) (uint64, error) {
	l.place.memory.mu.Lock()
	defer l.place.memory.mu.Unlock()
	return l.last(), nil
}

func (l *Log) last() uint64 {
	last := max(l.log.first, l.log.trimmed)
	objects := l.place.objects.Bucket()
	for objects.Has(Key(l.id, last+1)) {
		last++
	}
	return last
}

// Trim implements front.Log.
func (l *Log) Trim(_ context.Context, upTo uint64) error {
	l.place.memory.mu.Lock()
	defer l.place.memory.mu.Unlock()
	l.log.trimmed = max(l.log.trimmed, min(upTo, l.last()))
	return nil
}

// Remove implements front.Log.
func (l *Log) Remove(ctx context.Context) error { return l.Trim(ctx, math.MaxUint64) }

// Close implements front.Log.
func (l *Log) Close() error { return nil }
