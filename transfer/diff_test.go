package transfer_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/zaridb/zari/transfer"
	"github.com/zaridb/zari/zodb"
)

// told is a Diff in words.
func told(t *testing.T, changes iter.Seq2[transfer.Change, error]) (list []string) {
	t.Helper()
	for c, err := range changes {
		if err != nil {
			t.Fatal(err)
		}
		part := func(c *zodb.Current) string {
			if c == nil {
				return "none"
			}
			return fmt.Sprintf("%v of %d", c.Serial, len(c.Data))
		}
		list = append(list, fmt.Sprintf("%v: %s, %s", c.OID, part(c.Old), part(c.New)))
	}
	return list
}

// What was written between two states is what differs between copies of them, and
// that is what one finds by loading everything.
func TestDiff(t *testing.T) {
	for kind, open := range kinds {
		w := newWorld(t, open(t), 20)
		w.grow(150)
		for _, at := range []int{0, 10, 75, 149, 150} {
			from := zodb.TID(0)
			if at > 0 {
				from = w.tids[min(at, len(w.tids))-1]
			}
			to := w.s.LastTID()
			older := memory(t)
			if from > 0 {
				if _, err := transfer.Copy(t.Context(), older, w.s, transfer.Options{To: from}); err != nil {
					t.Fatal(err)
				}
			}
			want := byLoading(t, w, from, to)
			if got := told(t, transfer.DiffSince(t.Context(), w.s, from, to)); !slices.Equal(got, want) {
				t.Errorf("%s: DiffSince %v:\n%q, want\n%q", kind, from, got, want)
			}
			if got := told(t, transfer.Diff(t.Context(), transfer.State{Storage: older}, transfer.State{Storage: w.s})); !slices.Equal(got, want) {
				t.Errorf("%s: Diff with the copy at %v:\n%q, want\n%q", kind, from, got, want)
			}
		}
	}
}

func byLoading(t *testing.T, w *world, from, to zodb.TID) (list []string) {
	t.Helper()
	load := func(oid zodb.OID, at zodb.TID) (zodb.Record, string) {
		rec, err := w.s.LoadBefore(t.Context(), oid, at+1)
		if _, missing := errors.AsType[*zodb.NoObjectError](err); missing {
			return rec, "none"
		}
		if err != nil {
			t.Fatal(err)
		}
		return rec, fmt.Sprintf("%v of %d", rec.Serial, len(rec.Data))
	}
	for oid := range zodb.OID(60) {
		a, one := load(oid, from)
		b, two := load(oid, to)
		if one != two && string(a.Data) != string(b.Data) {
			list = append(list, fmt.Sprintf("%v: %s, %s", oid, one, two))
		}
	}
	return list
}

// The record of a blob says nothing of what is in it.
func TestDiffOfBlobs(t *testing.T) {
	s := memory(t)
	for i, content := range []string{"one", "two", "two"} {
		putBlob(t, s, zodb.TID(1000+i), 9, content)
	}
	for _, c := range []struct {
		from, to zodb.TID
		changed  bool
	}{{1000, 1001, true}, {1001, 1002, false}, {1000, 1002, true}} {
		got := told(t, transfer.DiffSince(t.Context(), s, c.from, c.to))
		if (len(got) == 1) != c.changed {
			t.Errorf("from %v to %v: %q", c.from, c.to, got)
		}
	}
}

func TestDiffOfWhatCannot(t *testing.T) {
	s := plain{memory(t)}
	for _, err := range transfer.Diff(t.Context(), transfer.State{Storage: s}, transfer.State{Storage: s}) {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Diff: %v", err)
		}
	}
	for _, err := range transfer.DiffSince(t.Context(), s, 1, 2) {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("DiffSince: %v", err)
		}
	}
}
