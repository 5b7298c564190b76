package filestorage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// answered is what a stream said of a batch.
type answered struct {
	n   int
	err error
}

// streamed streams batches and returns the answers; there is none for those that were not
// asked for.
func streamed(t *testing.T, s *Storage, batches ...[]*txnlog.Txn) (answers []answered) {
	given := 0
	s.Stream(t.Context(), func() []*txnlog.Txn {
		if given == len(batches) {
			return nil
		}
		given++
		return batches[given-1]
	}, func(n int, err error) { answers = append(answers, answered{n, err}) })
	if len(answers) != given {
		t.Fatalf("%d answers for %d batches", len(answers), given)
	}
	return answers
}

// three are batches of which each can be written before the one before is whole. Half of
// the bytes of the second one have two transactions in them.
func three() [][]*txnlog.Txn {
	return [][]*txnlog.Txn{
		{txn(70, put(7, "seven"))},
		{txn(71, put(8, "eight")), txn(72, put(8, "again")), txn(73, put(8, strings.Repeat("more", 1000)))},
		{txn(74, put(9, "nine"))},
	}
}

// Batches that follow each other share their syncs, unless they depend on each other or one
// would hold up the other.
func TestSyncsOfAStream(t *testing.T) {
	large := strings.Repeat("x", writePiece+1)
	for name, c := range map[string]struct {
		batches [][]*txnlog.Txn
		want    int
	}{
		"none":            {nil, 0},
		"one":             {three()[:1], 2},
		"others":          {three(), 4},
		"the same object": {[][]*txnlog.Txn{{txn(70, put(7, "a"))}, {txn(71, put(7, "b"))}, {txn(72, put(7, "c"))}}, 6},
		"large":           {[][]*txnlog.Txn{{txn(70, put(7, "a"))}, {txn(71, put(8, large))}, {txn(72, put(9, "c"))}}, 5},
	} {
		f := vfs.Fault(disk(t), 1)
		s := openOn(t, f)
		history(t, s)
		syncs := 0
		f.SetRules(vfs.Rule{Ops: vfs.OpDatasync, Silent: true, Before: func(vfs.Op, string) { syncs++ }})
		for i, a := range streamed(t, s, c.batches...) {
			if a.err != nil || a.n != len(c.batches[i]) {
				t.Errorf("%s: batch %d: %d, %v", name, i, a.n, a.err)
			}
		}
		if syncs != c.want {
			t.Errorf("%s: %d syncs, want %d", name, syncs, c.want)
		}
	}
}

// Who waits for the file gets it after the batch at hand.
func TestStreamMakesWay(t *testing.T) {
	s := openOn(t, disk(t))
	history(t, s)
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	if answers := streamed(t, s, three()...); len(answers) != 1 || answers[0].err != nil {
		t.Errorf("answers: %v", answers)
	}
	wantLoad(t, s, 7, zodb.MaxTID, "seven 70-0")
}

// The disk fails at every step of a stream, once, twice or until it is mended, and cannot
// cut off what was written, either. What was acknowledged is there, what failed is not, and
// what is in doubt is as Settle says.
func TestStreamFaults(t *testing.T) {
	var kept [4]bool // as many of the three were kept
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpDatasync} {
		for from := range 7 {
			for _, times := range []int{1, 2, 0} {
				for _, truncates := range []bool{true, false} {
					name := fmt.Sprintf("%v %d, %d times, truncates %v", op, from, times, truncates)
					rules := []vfs.Rule{{Ops: op, Path: "Data.fs", From: from, Times: times, Short: op == vfs.OpWrite}}
					if !truncates {
						rules = append(rules, vfs.Rule{Ops: vfs.OpTruncate, Path: "Data.fs", Times: 2})
					}
					kept[streamOver(t, name, rules)] = true
				}
			}
		}
	}
	if kept != [4]bool{true, true, true, true} {
		t.Errorf("the faults leave not as many of the three as they should: %v", kept)
	}
}

// streamOver streams three batches to a faulty disk, and returns how many are kept.
func streamOver(t *testing.T, name string, rules []vfs.Rule) int {
	m := disk(t)
	f := vfs.Fault(m, 1)
	s := openOn(t, f)
	history(t, s)
	f.SetRules(rules...)
	batches := three()
	answers := streamed(t, s, batches...)
	f.SetRules()
	head, err := s.Settle(t.Context())
	if err != nil {
		t.Fatalf("%s: Settle: %v", name, err)
	}
	var kept []zodb.TID
	n := 0
	for i, a := range answers {
		last := batches[i][len(batches[i])-1].TID
		if a.err == nil || errors.Is(a.err, zodb.ErrCommitUnknown) && last <= head {
			n++
			for _, x := range batches[i] {
				kept = append(kept, x.TID)
			}
		}
	}
	check := func(s *Storage) {
		var found []zodb.TID
		for x, err := range s.Scan(t.Context(), 70, store.Forward) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			found = append(found, x.TID)
		}
		wantLoad(t, s, 1, 60, "one' 40-60")
		if !slices.Equal(found, kept) {
			t.Errorf("%s: there are %v, want %v; answers %v, settled at %v", name, found, kept, answers, head)
		}
	}
	check(s)
	appendTo(t, s, txn(80, put(7, "later"))) // as long as 71: behind it 72 would be found if it was left there
	kept = append(kept, 80)
	check(s)
	other := disk(t) // what a restart would find
	writeFile(t, other, dataFile, readFile(t, m, dataFile))
	check(openOn(t, other))
	closed(t, s)
	check(openOn(t, m))
	return n
}

// A batch for which there is no room does not harm the one before.
func TestStreamDiskFull(t *testing.T) {
	m := disk(t)
	s := openOn(t, vfs.Fault(m, 1, vfs.Rule{Ops: vfs.OpReserve, Err: errors.ErrUnsupported}))
	history(t, s)
	m.SetCapacity(m.Used() + 6000)
	answers := streamed(t, s, three()[0], []*txnlog.Txn{txn(71, put(8, strings.Repeat("x", 20000)))}, three()[2])
	if len(answers) != 2 || answers[0].err != nil || !errors.Is(answers[1].err, zodb.ErrNoSpace) || !errors.Is(answers[1].err, syscall.ENOSPC) {
		t.Errorf("answers: %v", answers)
	}
	m.SetCapacity(-1)
	wantLoad(t, s, 7, zodb.MaxTID, "seven 70-0")
	wantLoad(t, s, 8, zodb.MaxTID, "unknown")
	appendTo(t, s, txn(73, put(9, "nine")))
	closed(t, s)
	s = openOn(t, m)
	wantLoad(t, s, 8, zodb.MaxTID, "unknown")
	wantLoad(t, s, 9, zodb.MaxTID, "nine 73-0")
}
