// Package fronttest is the contract of front.Log as a test suite.
package fronttest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/layout"
)

// Harness says how to get at the place under test.
type Harness struct {
	// New makes an empty place, closed at the end of the test.
	New func(t testing.TB) front.Place

	// Peer opens the same place once more, as another server. nil: nobody else can.
	Peer func(t testing.TB, p front.Place) front.Place

	// Reopen closes a place, and opens it again.
	Reopen func(t testing.TB, p front.Place) front.Place
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for name, test := range map[string]func(*testing.T, Harness){
		"PutAndGet": putAndGet, "Taken": taken, "NoLog": noLog, "Trim": trim, "TrimmedIsTaken": trimmedIsTaken,
		"Behind": behind, "Reopen": reopen, "Remove": remove, "CreateAgain": createAgain, "TwoLogs": twoLogs,
		"LargeObject": largeObject, "OneWins": oneWins, "OldEpoch": oldEpoch,
	} {
		t.Run(name, func(t *testing.T) { test(t, h) })
	}
}

func object(slot uint64, who string) []byte {
	return fmt.Appendf(nil, "slot %d of %s %0*d", slot, who, 700, slot)
}

func create(t *testing.T, p front.Place, last uint64) (front.Log, layout.ID) {
	t.Helper()
	id := layout.NewID()
	l, err := p.Create(t.Context(), id, last, 3)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l, id
}

func open(t *testing.T, p front.Place, id layout.ID) front.Log {
	t.Helper()
	l, err := p.Open(t.Context(), id)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func put(t *testing.T, l front.Log, slots ...uint64) {
	t.Helper()
	for _, slot := range slots {
		if err := l.Put(t.Context(), slot, 3, object(slot, "a")); err != nil {
			t.Fatalf("Put of slot %d: %v", slot, err)
		}
	}
}

// holds checks that these slots are there, and the next one is not.
func holds(t *testing.T, l front.Log, slots ...uint64) {
	t.Helper()
	for _, slot := range slots {
		got, err := l.Get(t.Context(), slot)
		if err != nil || !bytes.Equal(got, object(slot, "a")) {
			t.Errorf("slot %d: %.30q, %v", slot, got, err)
		}
	}
	last := slots[len(slots)-1]
	if got, err := l.Last(t.Context()); err != nil || got != last {
		t.Errorf("Last = %d, %v; want %d", got, err, last)
	}
	if _, err := l.Get(t.Context(), last+1); !errors.Is(err, front.ErrNone) {
		t.Errorf("slot %d: %v, want that there is none", last+1, err)
	}
}

func putAndGet(t *testing.T, h Harness) {
	l, _ := create(t, h.New(t), 41)
	if last, err := l.Last(t.Context()); err != nil || last != 41 {
		t.Errorf("Last = %d, %v", last, err)
	}
	for _, slot := range []uint64{41, 42} {
		if _, err := l.Get(t.Context(), slot); !errors.Is(err, front.ErrNone) {
			t.Errorf("slot %d of an empty log: %v", slot, err)
		}
	}
	put(t, l, 42, 43, 44)
	holds(t, l, 42, 43, 44)
}

func taken(t *testing.T, h Harness) {
	l, _ := create(t, h.New(t), 0)
	put(t, l, 1, 2)
	for slot := range uint64(3) {
		if err := l.Put(t.Context(), slot, 3, object(slot, "b")); !errors.Is(err, front.ErrTaken) {
			t.Errorf("a second Put of slot %d: %v", slot, err)
		}
	}
	holds(t, l, 1, 2)
}

func noLog(t *testing.T, h Harness) {
	p := h.New(t)
	create(t, p, 0)
	if _, err := p.Open(t.Context(), layout.NewID()); !errors.Is(err, front.ErrNoLog) {
		t.Errorf("Open: %v", err)
	}
}

func trim(t *testing.T, h Harness) {
	l, _ := create(t, h.New(t), 0)
	put(t, l, 1, 2, 3, 4)
	if err := l.Trim(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	holds(t, l, 3, 4)
	if err := l.Trim(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	put(t, l, 5)
	holds(t, l, 5)
}

// A number is never used twice: a Put that comes very late must fail.
func trimmedIsTaken(t *testing.T, h Harness) {
	p := h.New(t)
	l, id := create(t, p, 0)
	put(t, l, 1, 2, 3)
	if err := l.Trim(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for slot := uint64(1); slot <= 3; slot++ {
			if err := l.Put(t.Context(), slot, 9, object(slot, "late")); !errors.Is(err, front.ErrTaken) {
				t.Errorf("a late Put of slot %d: %v", slot, err)
			}
		}
		l.Close()
		p = h.Reopen(t, p)
		l = open(t, p, id)
	}
	if last, err := l.Last(t.Context()); err != nil || last != 3 {
		t.Errorf("Last = %d, %v", last, err)
	}
}

// What comes behind a gap is refused: the log has lost what was there.
func behind(t *testing.T, h Harness) {
	l, _ := create(t, h.New(t), 5)
	put(t, l, 6)
	if err := l.Put(t.Context(), 8, 3, object(8, "a")); err == nil || errors.Is(err, front.ErrTaken) {
		t.Errorf("a Put behind a gap: %v", err)
	}
	holds(t, l, 6)
}

func reopen(t *testing.T, h Harness) {
	p := h.New(t)
	l, id := create(t, p, 0)
	put(t, l, 1, 2, 3)
	for next := uint64(4); next < 8; next++ {
		l.Close()
		p = h.Reopen(t, p)
		l = open(t, p, id)
		holds(t, l, 1, next-1)
		put(t, l, next)
	}
	holds(t, l, 1, 2, 3, 4, 5, 6, 7)
}

func remove(t *testing.T, h Harness) {
	p := h.New(t)
	l, _ := create(t, p, 0)
	put(t, l, 1, 2)
	if err := l.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, slot := range []uint64{1, 2, 3} {
		if _, err := l.Get(t.Context(), slot); err == nil {
			t.Errorf("slot %d is still there", slot)
		}
	}
	if err := l.Put(t.Context(), 2, 3, object(2, "late")); err == nil {
		t.Error("a late Put succeeds")
	}
	next, _ := create(t, p, 10)
	put(t, next, 11)
	holds(t, next, 11)
}

func createAgain(t *testing.T, h Harness) {
	p := h.New(t)
	l, id := create(t, p, 7)
	l.Close()
	l, err := p.Create(t.Context(), id, 9, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	put4 := l.Put(t.Context(), 10, 4, object(10, "a"))
	if put4 != nil {
		t.Fatal(put4)
	}
	holds(t, l, 10)
}

func twoLogs(t *testing.T, h Harness) {
	p := h.New(t)
	a, _ := create(t, p, 0)
	put(t, a, 1, 2)
	if err := a.Remove(t.Context()); err != nil { // one place may take one log after the other only
		t.Fatal(err)
	}
	b, id := create(t, p, 100)
	put(t, b, 101, 102)
	b.Close()
	holds(t, open(t, h.Reopen(t, p), id), 101, 102)
}

func largeObject(t *testing.T, h Harness) {
	p := h.New(t)
	l, id := create(t, p, 0)
	want := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
	if err := l.Put(t.Context(), 1, 3, want); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if got, err := open(t, h.Reopen(t, p), id).Get(t.Context(), 1); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Of all who put a slot one wins, and the bytes are the winner's.
func oneWins(t *testing.T, h Harness) {
	if h.Peer == nil {
		t.Skip("nobody else can get there")
	}
	p := h.New(t)
	_, id := create(t, p, 0)
	const writers = 6
	var logs []front.Log
	for range writers {
		logs = append(logs, open(t, h.Peer(t, p), id))
	}
	for slot := uint64(1); slot <= 20; slot++ {
		var winner atomic.Int64
		var wins atomic.Int64
		var wg sync.WaitGroup
		for i, l := range logs {
			wg.Go(func() {
				err := l.Put(t.Context(), slot, 3, object(slot, fmt.Sprint(i)))
				switch {
				case err == nil:
					winner.Store(int64(i))
					wins.Add(1)
				case !errors.Is(err, front.ErrTaken):
					t.Errorf("slot %d: %v", slot, err)
				}
			})
		}
		wg.Wait()
		got, err := logs[0].Get(t.Context(), slot)
		if wins.Load() != 1 || err != nil || !bytes.Equal(got, object(slot, fmt.Sprint(winner.Load()))) {
			t.Fatalf("slot %d: %d winners, %.20q, %v", slot, wins.Load(), got, err)
		}
	}
}

// A writer of an epoch that is over takes no slot. (It would be the wrong one anyhow.)
func oldEpoch(t *testing.T, h Harness) {
	l, _ := create(t, h.New(t), 0)
	if err := l.Put(t.Context(), 1, 7, object(1, "a")); err != nil {
		t.Fatal(err)
	}
	if err := l.Put(t.Context(), 2, 6, object(2, "old")); err == nil {
		t.Error("a writer of an earlier epoch takes a slot")
	}
	if err := l.Put(t.Context(), 2, 7, object(2, "a")); err != nil {
		t.Error(err)
	}
	holds(t, l, 1, 2)
}
