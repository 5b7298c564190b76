package resolve

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// histories is what testdata/histories.py says in the end. Alone are trees that the same
// transactions break one after the other, Last those that their last transaction breaks
// alone, on a copy of the tree as it was, whole, before it, Python those of histories in
// which nothing was let through, Both those that the same events break with Python's rules
// too; the others are Broken.
type histories struct {
	Histories, Commits, Conflicts, Passed, Broken, Alone, Last, Python, Both int
	Examples                                                                 []string
}

func (h *histories) add(o histories) {
	h.Histories += o.Histories
	h.Commits += o.Commits
	h.Conflicts += o.Conflicts
	h.Passed += o.Passed
	h.Broken += o.Broken
	h.Alone += o.Alone
	h.Python += o.Python
	h.Last += o.Last
	h.Both += o.Both
	h.Examples = append(h.Examples, o.Examples...)
}

// rules makes what merges in a vote under test.
type rules func(*splits) TxnMerger

// TestHistories lets BTrees make random histories in a store that lets pass and merges
// what splits have changed, and finds every tree whole that is not broken by the same
// transactions alone. ZARI_HISTORIES is the number of histories, ZARI_SEED the seed, and
// ZARI_FIRST the number of the first history that each of the two processes makes, for one
// that is to be seen again.
func TestHistories(t *testing.T) {
	count := 120
	if s := os.Getenv("ZARI_HISTORIES"); s != "" {
		var err error
		if count, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	got, counted := makeHistories(t, count, func(s *splits) TxnMerger { return s })
	if got.Histories != count || counted.passes.n == 0 || counted.merges.n == 0 {
		t.Errorf("%d histories were asked for, with checks that pass and nodes that are merged", count)
	}
	if got.Broken > 0 {
		t.Errorf("%d trees are broken", got.Broken)
	}
}

// TestHistoriesFindWiderRules: rules that let more pass break trees, and it is seen.
func TestHistoriesFindWiderRules(t *testing.T) {
	for name, wider := range map[string]rules{
		"any way":     func(s *splits) TxnMerger { return anyWay{s} },
		"any changes": func(s *splits) TxnMerger { return anyChanges{s} },
	} {
		t.Run(name, func(t *testing.T) {
			if got, _ := makeHistories(t, 150, wider); got.Broken == 0 {
				t.Error("no tree is broken")
			}
		})
	}
}

// anyWay lets checks pass wherever the way leads now.
type anyWay struct{ *splits }

func (s anyWay) Passes(oid zodb.OID) bool {
	serial, _ := s.Check(oid)
	before, err := s.revision(oid, serial)
	if err != nil {
		return false
	}
	old, err := readNode(before)
	if err != nil {
		return false
	}
	c := collector{splits: s.splits, nodes: make(map[zodb.OID]bool)}
	return c.collect(old, bound{}, bound{}, 0) == nil && len(c.leaves) > 0
}

// anyChanges merges nodes child by child, deletions too.
type anyChanges struct{ *splits }

func (s anyChanges) Merge(base, committed, wanted []byte) ([]byte, bool) {
	if merged, ok := s.splits.Merge(base, committed, wanted); ok {
		return merged, true
	}
	merged, err := mergeByChild(base, committed, wanted)
	return merged, err == nil
}

// makeHistories lets two processes make histories.
func makeHistories(t *testing.T, count int, r rules) (sum histories, counted *counting) {
	t.Helper()
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON is not set")
	}
	seed := os.Getenv("ZARI_SEED")
	if seed == "" {
		seed = "1"
	}
	counted = &counting{Resolver: New(Options{MergeSplits: true}), rules: r}
	var wg sync.WaitGroup
	results := make([]histories, 2)
	for i := range results {
		wg.Go(func() {
			share := count / 2
			if i == 0 {
				share = count - count/2
			}
			got, err := playHistories(t.Context(), python, fmt.Sprintf("%s-%d", seed, i), share, counted)
			if err != nil {
				t.Error(err)
			}
			results[i] = got
		})
	}
	wg.Wait()
	for _, got := range results {
		sum.add(got)
	}
	t.Logf("%d histories, %d commits, %d conflicts; %d of %d checks passed, %d nodes merged; trees broken: %d, by the same transactions alone: %d, by the last of them alone: %d; without anything let through: %d, with Python's rules too: %d",
		sum.Histories, sum.Commits, sum.Conflicts, counted.passes.n, counted.passes.of, counted.merges.n, sum.Broken, sum.Alone, sum.Last, sum.Python, sum.Both)
	if len(sum.Examples) > 0 {
		t.Logf("broken trees:\n%s", strings.Join(sum.Examples, "\n"))
	}
	return sum, counted
}

func playHistories(ctx context.Context, python, seed string, count int, c *counting) (histories, error) {
	first := cmp.Or(os.Getenv("ZARI_FIRST"), "0")
	cmd := exec.CommandContext(ctx, python, "testdata/histories.py", seed, first, strconv.Itoa(count))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return histories{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return histories{}, err
	}
	if err := cmd.Start(); err != nil {
		return histories{}, err
	}
	p := player{counting: c, in: bufio.NewReaderSize(out, 1<<16), out: bufio.NewWriter(in)}
	err = p.play(ctx)
	in.Close()
	return p.result, errors.Join(err, cmd.Wait())
}

// counting counts what a resolver lets through.
type counting struct {
	*Resolver
	rules          rules
	mu             sync.Mutex
	passes, merges struct{ n, of int }
}

func (c *counting) ForTxn(t Pending) TxnMerger {
	return &countingMerger{c.rules(&splits{Pending: t, resolver: c.Resolver, cmp: &comparer{}}), c}
}

type countingMerger struct {
	TxnMerger
	*counting
}

func (m *countingMerger) Passes(oid zodb.OID) bool {
	ok := m.TxnMerger.Passes(oid)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passes.of++
	if ok {
		m.passes.n++
	}
	return ok
}

func (m *countingMerger) Merge(base, committed, wanted []byte) ([]byte, bool) {
	merged, ok := m.TxnMerger.Merge(base, committed, wanted)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.merges.of++
	if ok {
		m.merges.n++
	}
	return merged, ok
}

// passing is a counting for one store, whose votes follow each other.
type passing struct {
	*counting
	passed *int
}

func (p passing) ForTxn(t Pending) TxnMerger { return passingMerger{p.counting.ForTxn(t), p.passed} }

type passingMerger struct {
	TxnMerger
	passed *int
}

func (m passingMerger) Passes(oid zodb.OID) bool {
	ok := m.TxnMerger.Passes(oid)
	if ok {
		*m.passed++
	}
	return ok
}

func (m passingMerger) Merge(base, committed, wanted []byte) ([]byte, bool) {
	merged, ok := m.TxnMerger.Merge(base, committed, wanted)
	if ok {
		*m.passed++
	}
	return merged, ok
}

// player keeps the store of the history that is made.
type player struct {
	*counting
	in     *bufio.Reader
	out    *bufio.Writer
	store  *store.Store
	txns   map[string]*playing
	passed int
	result histories
}

type playing struct {
	zodb.Txn
	resolved []zodb.OID
}

func (p *player) play(ctx context.Context) error {
	defer func() {
		if p.store != nil {
			p.store.Close()
		}
	}()
	for {
		op, err := p.in.ReadByte()
		if err != nil {
			return err
		}
		first, err := frame(p.in)
		if err != nil {
			return err
		}
		switch op {
		case 'X':
			err = p.open(ctx, string(first) == "ours")
		case 'V':
			err = p.vote(ctx, string(first))
		case 'F':
			err = p.finish(ctx, string(first))
		case 'A':
			if x := p.txns[string(first)]; x != nil {
				x.Abort()
				delete(p.txns, string(first))
			}
		case 'J':
			return json.Unmarshal(first, &p.result)
		}
		if err != nil {
			return err
		}
		if err := p.out.Flush(); err != nil {
			return err
		}
	}
}

func (p *player) open(ctx context.Context, ours bool) (err error) {
	if p.store != nil {
		p.store.Close()
	}
	p.txns = make(map[string]*playing)
	opts := store.Options{LockWait: time.Nanosecond, Resolver: passing{p.counting, &p.passed}}
	if !ours {
		opts.Resolver = New(Options{})
	}
	p.store, err = store.Open(ctx, memstorage.New(memstorage.Options{}), opts)
	return err
}

func (p *player) vote(ctx context.Context, name string) error {
	n, err := frame(p.in)
	if err != nil {
		return err
	}
	fields, err := frames(p.in, int(binary.BigEndian.Uint32(n)))
	if err != nil {
		return err
	}
	txn, err := p.store.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		return err
	}
	for f := fields; len(f) >= 4; f = f[4:] {
		oid, serial := zodb.OID(number(f[1])), zodb.TID(number(f[2]))
		if f[0][0] == 'W' {
			err = txn.Store(ctx, oid, serial, f[3])
		} else {
			err = txn.CheckCurrent(ctx, oid, serial)
		}
		if err != nil {
			return err
		}
	}
	p.passed = 0
	votes, err := txn.Vote(ctx)
	if _, ok := errors.AsType[*zodb.ConflictError](err); ok || len(votes.Conflicts) > 0 {
		txn.Abort()
		_, err := p.out.Write([]byte{1, 0})
		return err
	}
	if err != nil {
		return err
	}
	p.txns[name] = &playing{txn, votes.Resolved}
	_, err = p.out.Write([]byte{0, byte(min(p.passed, 255))})
	return err
}

func (p *player) finish(ctx context.Context, name string) error {
	x := p.txns[name]
	delete(p.txns, name)
	tid, err := x.Finish(ctx, nil)
	if err != nil {
		return err
	}
	answer := binary.BigEndian.AppendUint64(nil, uint64(tid))
	answer = binary.BigEndian.AppendUint32(answer, uint32(len(x.resolved)))
	for _, oid := range x.resolved {
		rec, err := p.store.LoadBefore(ctx, oid, tid+1)
		if err != nil {
			return err
		}
		answer = binary.BigEndian.AppendUint64(answer, uint64(oid))
		answer = binary.BigEndian.AppendUint32(answer, uint32(len(rec.Data)))
		answer = append(answer, rec.Data...)
	}
	_, err = p.out.Write(answer)
	return err
}

func frames(in *bufio.Reader, n int) ([][]byte, error) {
	all := make([][]byte, n)
	for i := range all {
		var err error
		if all[i], err = frame(in); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func number(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
