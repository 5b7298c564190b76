package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/zaridb/zari/zodb"
)

func newTestWindow(bytes int64, age time.Duration) (*window, *time.Time) {
	now := time.Unix(1e9, 0)
	return newWindow(&Options{WindowBytes: bytes, WindowAge: age, Clock: func() time.Time { return now }}), &now
}

func one(oid zodb.OID, serial zodb.TID, data string) []*replaced {
	return []*replaced{{oid: oid, serial: serial, data: []byte(data)}}
}

func (w *window) said(oid zodb.OID, tid zodb.TID) string {
	r, ok := w.before(oid, tid)
	switch {
	case !ok:
		return "not here"
	case r.data == nil:
		return fmt.Sprintf("none by %d until %d", r.serial, r.next)
	}
	return fmt.Sprintf("%s by %d until %d", r.data, r.serial, r.next)
}

func (w *window) expect(t *testing.T, oid zodb.OID, want map[zodb.TID]string) {
	t.Helper()
	for tid, want := range want {
		if got := w.said(oid, tid); got != want {
			t.Errorf("object %d before %d: %s, want %s", oid, tid, got, want)
		}
	}
}

func TestWindow(t *testing.T) {
	w, _ := newTestWindow(1<<20, time.Hour)
	w.enter([]*replaced{{oid: 1}}, 10)
	w.enter(one(1, 10, "a"), 20)
	w.enter([]*replaced{{oid: 1, serial: 30}}, 40) // 20 was replaced by somebody else
	w.expect(t, 1, map[zodb.TID]string{
		5: "none by 0 until 10", 10: "none by 0 until 10", 11: "a by 10 until 20", 20: "a by 10 until 20",
		21: "not here", 30: "not here", 31: "none by 30 until 40", 40: "none by 30 until 40", 41: "not here",
	})
	w.expect(t, 2, map[zodb.TID]string{15: "not here"})
}

// A transaction that is not kept has replaced nothing.
func TestWindowLeave(t *testing.T) {
	w, _ := newTestWindow(1<<20, time.Hour)
	w.enter(one(1, 10, "a"), 20)
	b := one(1, 20, "b")
	w.enter(b, 30)
	w.expect(t, 1, map[zodb.TID]string{15: "a by 10 until 20", 21: "b by 20 until 30"})
	w.leave(b)
	w.leave(b)
	w.expect(t, 1, map[zodb.TID]string{15: "a by 10 until 20", 21: "not here"})
	w.enter(one(1, 20, "b"), 40)
	never := one(1, 40, "c")
	w.leave(never) // it never entered
	w.expect(t, 1, map[zodb.TID]string{31: "b by 20 until 40", 41: "not here"})
}

func TestWindowBounds(t *testing.T) {
	w, now := newTestWindow(10*(replacedOverhead+1), time.Minute)
	for i := range 30 {
		w.enter(one(zodb.OID(i%3), zodb.TID(i+1), "x"), zodb.TID(i+4))
	}
	if w.size > w.bytes || len(w.order) != 10 {
		t.Errorf("the window has %d revisions of %d bytes", len(w.order), w.size)
	}
	w.expect(t, 0, map[zodb.TID]string{20: "not here", 23: "x by 22 until 25", 30: "x by 28 until 31"})
	*now = now.Add(time.Minute + time.Second)
	w.enter(one(9, 1, "y"), 50)
	w.expect(t, 0, map[zodb.TID]string{30: "not here"})
	w.expect(t, 9, map[zodb.TID]string{30: "y by 1 until 50"})
	if len(w.chains) != 1 || len(w.order) != 1 {
		t.Errorf("%d objects and %d revisions are left", len(w.chains), len(w.order))
	}
	w.enter(one(9, 50, string(make([]byte, 5000))), 60)
	if w.size != 0 || len(w.chains) != 0 {
		t.Errorf("a revision that is larger than the window is kept: %d bytes, %d objects", w.size, len(w.chains))
	}
}

// A batch that fails is taken back from its first transaction on.
func TestWindowLeaveInAnyOrder(t *testing.T) {
	w, _ := newTestWindow(1<<20, time.Hour)
	a, b, c := one(1, 10, "a"), one(1, 20, "b"), one(1, 30, "c")
	w.enter(a, 20)
	w.enter(b, 30)
	w.enter(c, 40)
	w.leave(b)
	w.leave(c)
	w.expect(t, 1, map[zodb.TID]string{11: "a by 10 until 20", 21: "not here", 31: "not here"})
	w.enter(one(1, 20, "d"), 50)
	w.expect(t, 1, map[zodb.TID]string{21: "d by 20 until 50"})
}

func TestMembers(t *testing.T) {
	m := members{since: 100}
	for i := range 3 * rememberedMembers {
		m.add(zodb.TID(200 + 2*i))
	}
	last := zodb.TID(200 + 2*(3*rememberedMembers-1))
	for tid, want := range map[zodb.TID]bool{50: true, 201: true, last: true, last - 1: false, last - 2: true, last + 1: false} {
		if got := m.mayHave(tid); got != want {
			t.Errorf("mayHave(%d) = %v", tid, got)
		}
	}
	if len(m.tids) > rememberedMembers {
		t.Errorf("%d tids are remembered", len(m.tids))
	}
}
