package s3storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// The model check runs two writers, what each of them does behind (checkpoints,
// compactions, packs, collections), and a reader, over one bucket that fails at random. Every
// actor is a coroutine that stops before each of its requests, and a seed says who goes
// on; now and then one is left standing for a long time, or a writer is dropped where
// it stands while what it does behind goes on. Time is the number of steps.
//
// The checker sees every change of the bucket. What it holds to be true:
//
//   - A slot has one content, until it is below the floor. Each follows on the one before,
//     and stays for the grace period.
//   - What a writer was told is committed is in the log; what it was told is not never
//     comes to be.
//   - What moves to segments is the same there, and nothing is lost. A pack may drop what
//     nobody sees at its time or later, and has to, where it found it; with garbage
//     collection also what cannot be reached from the root, or from what was written later.
//   - Whoever reads knows exactly what the log says up to the slot it has come to, and
//     never goes back.
//
// ZARI_S3_STEPS makes it run longer, with one seed after the other from ZARI_S3_SEED on.
func TestModel(t *testing.T) { testModel(t, modelBucket, 3) }

func testModel(t *testing.T, kind modelKind, rounds int) {
	seed, steps := uint64(1), rounds*modelRound
	if s, err := strconv.ParseUint(os.Getenv("ZARI_S3_SEED"), 10, 64); err == nil {
		seed = s
	}
	if n, err := strconv.Atoi(os.Getenv("ZARI_S3_STEPS")); err == nil {
		steps = n
	}
	for ; steps > 0; steps -= modelRound {
		m := newModel(kind, seed)
		m.run(modelRound)
		m.end(t)
		seed++
	}
}

// modelRound is how many steps are made with one bucket.
const modelRound = 40_000

const modelGrace = 400 * time.Second // a step is a second

type model struct {
	kind    modelKind
	seed    uint64
	rnd     *rand.Rand
	bucket  *fake.Bucket
	fronts  map[string]modelDisk // by writer
	now     int
	faults  fake.Rule
	actors  []*actor
	current *actor
	failure error

	slots    []slot // slots[0] is none
	floor    uint64
	revs     map[zodb.OID][]*revision
	txns     []*modelTxn
	segments map[string][]byte            // by key
	lie      map[layout.Place][]*revision // where
	gc       bool                         // some of the packs collect garbage
	token    map[zodb.Token]bool          // in the log
	never    map[zodb.Token]bool          // were said not to be there
	count    map[string]int
	hints    [][]byte
}

// slot is what the checker knows of a slot of the log.
type slot struct {
	hash    layout.Hash
	epoch   uint64
	last    zodb.TID
	at      int // the step it was written
	records int // there are, when it has been read
}

// revision is a revision of an object, also one that a pack has dropped.
type revision struct {
	oid     zodb.OID
	tid     zodb.TID
	data    string
	deleted bool
	gone    uint64 // the slot that dropped it; 0: it is there
}

// at reports whether the revision is there for whoever has read up to a slot.
func (r *revision) at(slot uint64) bool { return r.gone == 0 || r.gone > slot }

type modelTxn struct {
	tid     zodb.TID
	records []*revision
}

func (t *modelTxn) at(slot uint64) bool {
	return slices.ContainsFunc(t.records, func(r *revision) bool { return r.at(slot) })
}

// actor is a coroutine.
type actor struct {
	name   string
	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	stands int // until this step
}

type stopped struct{}

func newModel(kind modelKind, seed uint64) *model {
	m := &model{
		kind: kind, seed: seed, rnd: rand.New(rand.NewPCG(seed, 0x53)), slots: make([]slot, 1),
		revs: make(map[zodb.OID][]*revision), segments: make(map[string][]byte), lie: make(map[layout.Place][]*revision),
		gc: seed%2 == 0, token: make(map[zodb.Token]bool), never: make(map[zodb.Token]bool),
		count: make(map[string]int),
	}
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := func() time.Time { return base.Add(time.Duration(m.now) * time.Second) }
	m.bucket = fake.NewBucket(fake.Options{Now: now, OnChange: m.changed})
	m.makeFronts(now)
	m.faults = fake.Random(seed, fake.Rates{
		Slow: .02, Lost: .03, Late: .02, Twice: .02, Conflict: .02, Cut: .005, Stale: .1, Lack: .1,
	})
	writers := []*modelWriter{{m: m, name: "w1"}, {m: m, name: "w2"}}
	for _, w := range writers {
		m.start(w.name, w.run)
		m.start(w.name+" behind", w.behind)
		behind := m.actors[len(m.actors)-1]
		m.actors = append(m.actors, behind, behind) // it has more to do
	}
	m.start("reader", m.reader)
	m.start("old hints", m.oldHints)
	return m
}

func (m *model) start(name string, run func()) {
	a := &actor{name: name}
	a.resume, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		a.yield = yield
		defer func() {
			if r := recover(); r != nil && r != any(stopped{}) {
				panic(r)
			}
		}()
		run()
	})
	m.actors = append(m.actors, a)
}

// pause lets others go on.
func (m *model) pause() {
	if !m.current.yield(struct{}{}) {
		panic(stopped{})
	}
}

func (m *model) run(steps int) {
	for m.now < steps && m.failure == nil {
		m.now++
		a := m.actors[m.rnd.IntN(len(m.actors))]
		if a.stands > m.now {
			continue
		}
		if m.rnd.IntN(2000) == 0 {
			a.stands = m.now + m.rnd.IntN(8000)
			continue
		}
		m.current = a
		a.resume()
	}
}

func (m *model) fail(format string, args ...any) {
	if m.failure == nil {
		m.failure = fmt.Errorf("step %d of seed %d, %s: %w", m.now, m.seed, m.current.name, fmt.Errorf(format, args...))
	}
}

// end stops everybody, and looks at what is left in a bucket that works.
func (m *model) end(t *testing.T) {
	t.Helper()
	for _, a := range m.actors {
		a.stop()
	}
	if m.failure == nil {
		m.last()
	}
	if m.failure != nil {
		t.Fatal(m.failure)
	}
	t.Logf("seed %d: %d steps, %d slots, floor %d, %d transactions; %v", m.seed, m.now, len(m.slots)-1, m.floor, len(m.txns), m.count)
	for _, what := range m.wanted() {
		if m.count[what] == 0 && m.now >= 40_000 {
			t.Errorf("seed %d: nothing was ever %s: the model is no test", m.seed, what)
		}
	}
	if m.floor < 20 && m.now >= 40_000 {
		t.Errorf("the floor is %d: the model is no test of collections", m.floor)
	}
}

func (m *model) last() {
	m.current = &actor{name: "the end", yield: func(struct{}) bool { return true }}
	m.bucket.Land()
	m.faults = fake.Always(fake.Fault{})
	if err := m.bringHome(); err != nil {
		m.fail("the database cannot be opened: %w", err)
		return
	}
	e, err := Open(context.Background(), m.options("last", true))
	if err != nil {
		m.fail("the database cannot be opened: %w", err)
		return
	}
	m.check(e)
	if int(e.st.slot) != len(m.slots)-1 {
		m.fail("the log has %d slots, and %d are found", len(m.slots)-1, e.st.slot)
	}
	m.scan(e, 0, len(m.txns))
	for oid := range zodb.OID(modelOIDs) {
		m.load(e, oid, zodb.MaxTID)
	}
}

func (m *model) options(name string, readOnly bool) Options {
	client := m.bucket.Open(name)
	client.SetRule(func(op fake.Op) fake.Fault {
		m.pause()
		return m.faults(op)
	})
	return Options{
		Objects: client, Fronts: m.places(name), Writer: name, ReadOnly: readOnly, Manual: true, Parallel: 4,
		Doubt: 8 * time.Second, Grace: modelGrace, SegmentBytes: 3000, TailBytes: 2000, References: modelReferences,
		Elapsed: func() time.Duration { return time.Duration(m.now) * time.Second },
		Sleep:   func(context.Context, time.Duration) { m.pause() },
	}
}

// changed sees every change of the bucket.
func (m *model) changed(key string, body []byte) {
	switch {
	case key == layout.HintKey:
		m.hints = append(m.hints, body)
	case key == layout.FloorKey:
		p, err := layout.DecodeFloor(body)
		if err != nil || p.Slot < m.floor {
			m.fail("the floor goes from %d to %d: %v", m.floor, p.Slot, err)
		}
		m.floor = p.Slot
	case strings.HasPrefix(key, layout.LogPrefix) && body == nil:
		if n := slotOf(key); n >= m.floor {
			m.fail("slot %d is deleted, and the floor is %d", n, m.floor)
		} else if age := time.Duration(m.now-m.slots[n].at) * time.Second; age < modelGrace {
			m.fail("slot %d is deleted after %v", n, age)
		}
	case strings.HasPrefix(key, layout.LogPrefix):
		m.written(slotOf(key), body)
	case strings.HasPrefix(key, layout.SegmentPrefix):
		m.segments[key] = body
	}
}

func slotOf(key string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(key, layout.LogPrefix), 10, 64)
	return n
}

func (m *model) written(n uint64, body []byte) {
	if n < m.floor {
		m.count["strays"]++
		return // too late: nobody may believe in it
	}
	if m.kind == modelFront && n < uint64(len(m.slots)) {
		if m.slots[n].hash != layout.HashOf(body) {
			m.fail("slot %d has one content in the front and another one in the bucket", n)
		}
		m.count["moved"]++
		return
	}
	m.next(n, body)
}

// next takes what is written in the next slot.
func (m *model) next(n uint64, body []byte) {
	l, err := layout.DecodeLog(body)
	prev := m.slots[len(m.slots)-1]
	switch {
	case err != nil:
		m.fail("slot %d: %w", n, err)
		return
	case n < uint64(len(m.slots)):
		m.fail("slot %d is written a second time", n)
		return
	case n > uint64(len(m.slots)) || l.Prev != prev.hash || l.Epoch < prev.epoch || l.LastTID < prev.last:
		m.fail("slot %d (%v of epoch %d) does not follow on slot %d", n, l.Kind, l.Epoch, len(m.slots)-1)
		return
	}
	m.fence(l)
	next := slot{layout.HashOf(body), l.Epoch, l.LastTID, m.now, prev.records}
	m.slots = append(m.slots, next)
	records, err := m.add(l.Txns)
	if err != nil {
		m.fail("slot %d: %w", n, err)
	}
	if len(records) > 0 {
		m.lie[layout.Place{Slot: n}] = records
	}
	dropped := 0
	if l.Kind == layout.Replace {
		dropped = m.replaced(n, l.Replace)
	}
	m.slots[n].records += len(records) - dropped
}

// add takes the transactions of a slot.
func (m *model) add(body []byte) (records []*revision, err error) {
	for len(body) > 0 {
		t, rest, err := txnlog.Decode(body)
		if err != nil {
			return nil, err
		}
		if m.never[t.Token] {
			m.fail("transaction %v was said not to be committed", t.TID)
		}
		m.token[t.Token] = true
		x := &modelTxn{tid: t.TID}
		for i := range t.Records {
			r := &t.Records[i]
			rev := &revision{oid: r.OID, tid: t.TID, data: string(r.Data), deleted: r.Kind == txnlog.Delete}
			m.revs[r.OID] = append(m.revs[r.OID], rev)
			x.records = append(x.records, rev)
		}
		m.txns = append(m.txns, x)
		records = append(records, x.records...)
		body = rest
	}
	return records, nil
}

// check compares what an engine knows with the log up to its slot.
func (m *model) check(e *Engine) {
	s := e.st
	switch {
	case m.kind == modelForks && !e.opts.ReadOnly:
		// it may have a history of its own
	case s.slot >= uint64(len(m.slots)):
		m.fail("knows slot %d of %d", s.slot, len(m.slots)-1)
	case s.slot > 0 && s.hash != m.slots[s.slot].hash:
		m.fail("has something else in slot %d", s.slot)
	case s.last != m.slots[s.slot].last || s.epoch != m.slots[s.slot].epoch:
		m.fail("in slot %d: last %v, epoch %d", s.slot, s.last, s.epoch)
	case s.index.Len() != m.slots[s.slot].records:
		m.fail("in slot %d: %d revisions, and there are %d", s.slot, s.index.Len(), m.slots[s.slot].records)
	}
}

// tolerable reports whether an error may come from a bucket that fails.
func (m *model) tolerable(what string, err error) {
	if errors.Is(err, zodb.ErrCorrupt) {
		m.fail("%s: %w", what, err)
	}
}

const modelOIDs = 12

// load compares a revision with the log up to the engine's slot. What is done behind may bring
// that forward meanwhile; then one of the answers must be right.
func (m *model) load(e *Engine, oid zodb.OID, tid zodb.TID) {
	tid = min(tid, e.st.last+1)
	slot := e.st.slot
	rec, err := e.LoadBefore(context.Background(), oid, tid)
	wrong := m.answer(slot, oid, tid, rec, err)
	for slot++; wrong != nil && slot <= e.st.slot; slot++ {
		wrong = m.answer(slot, oid, tid, rec, err)
	}
	if wrong != nil {
		m.fail("object %v before %v: %w", oid, tid, wrong)
	}
}

// answer reports why a load is wrong for whoever has read up to a slot.
func (m *model) answer(slot uint64, oid zodb.OID, tid zodb.TID, rec zodb.Record, err error) error {
	found, next := m.before(slot, oid, tid)
	_, none := errors.AsType[*zodb.NoObjectError](err)
	switch {
	case none && found != nil && !found.deleted:
		return fmt.Errorf("%w, and there is %v", err, found.tid)
	case none:
		return nil
	case err != nil:
		m.tolerable("load", err)
		return nil
	case found == nil || found.deleted || rec.Serial != found.tid || string(rec.Data) != found.data:
		return fmt.Errorf("revision %v", rec.Serial)
	case rec.Next != next:
		return fmt.Errorf("next %v, want %v", rec.Next, next)
	}
	return nil
}

// before returns the newest revision before a tid for whoever has read up to a slot, and the
// tid of the one after it.
func (m *model) before(slot uint64, oid zodb.OID, tid zodb.TID) (found *revision, next zodb.TID) {
	for _, r := range m.revs[oid] {
		switch {
		case r.tid > m.slots[slot].last:
			return found, 0
		case !r.at(slot):
		case r.tid >= tid:
			return found, r.tid
		default:
			found = r
		}
	}
	return found, 0
}

// scan compares some transactions with the log.
func (m *model) scan(e *Engine, from zodb.TID, most int) {
	slot := e.st.slot
	var want []*modelTxn
	for _, t := range m.txns {
		if t.tid >= from && t.tid <= m.slots[slot].last && t.at(slot) {
			want = append(want, t)
		}
	}
	for t, err := range e.Scan(context.Background(), from, store.Forward) {
		switch {
		case err != nil:
			m.tolerable("scan", err)
			return
		case len(want) == 0 || t.TID != want[0].tid:
			m.fail("a scan finds %v, and the next of %d is another one", t.TID, len(want))
			return
		}
		m.sameRecords(slot, t, want[0])
		if want = want[1:]; most == 0 {
			return
		}
		most--
	}
	if len(want) > 0 {
		m.fail("a scan ends before %v", want[0].tid)
	}
}

func (m *model) sameRecords(slot uint64, t *txnlog.Txn, want *modelTxn) {
	n := 0
	for _, r := range want.records {
		if !r.at(slot) {
			continue
		}
		if n == len(t.Records) || t.Records[n].OID != r.oid || string(t.Records[n].Data) != r.data {
			m.fail("a scan finds transaction %v with other records", t.TID)
			return
		}
		n++
	}
	if n != len(t.Records) {
		m.fail("a scan finds %d records in transaction %v, and there are %d", len(t.Records), t.TID, n)
	}
}

func (m *model) reader() {
	var e *Engine
	seen := uint64(0)
	for {
		m.pause()
		var err error
		if e == nil {
			if e, err = Open(context.Background(), m.options("reader", true)); err != nil {
				m.tolerable("open to read", err)
				e = nil
				continue
			}
		} else if _, err = e.Follow(context.Background()); err != nil {
			m.tolerable("follow", err)
			continue
		}
		m.check(e)
		if e.st.slot < seen {
			m.fail("goes back from slot %d to slot %d", seen, e.st.slot)
		}
		seen = e.st.slot
		m.count["followed"]++
		for range 3 {
			m.load(e, zodb.OID(m.rnd.IntN(modelOIDs)), m.anyTID())
		}
		m.scan(e, m.anyTID(), 5)
		if m.rnd.IntN(20) == 0 {
			e, seen = nil, 0 // the next one may begin with an old hint
		}
	}
}

// oldHints puts back what the hint has been: it is only a hint.
func (m *model) oldHints() {
	o := m.options("old hints", true)
	for {
		m.pause()
		if len(m.hints) > 0 && m.rnd.IntN(100) == 0 {
			_, _ = o.Objects.Put(context.Background(), layout.HintKey, m.hints[m.rnd.IntN(len(m.hints))], "")
		}
	}
}

func (m *model) anyTID() zodb.TID {
	if len(m.txns) == 0 || m.rnd.IntN(3) == 0 {
		return zodb.MaxTID
	}
	return m.txns[m.rnd.IntN(len(m.txns))].tid + zodb.TID(m.rnd.IntN(2))
}

// modelWriter is a server that is started again whenever it ends.
type modelWriter struct {
	m      *model
	name   string
	engine *Engine
	doubt  []*txnlog.Txn
	n      uint64
}

func (w *modelWriter) run() {
	m := w.m
	for {
		m.pause()
		switch {
		case w.engine == nil:
			w.open()
		case m.rnd.IntN(150) == 0:
			w.engine, w.doubt = nil, nil // what it does behind may go on for a while
			m.count["crashes"]++
		case w.doubt != nil:
			w.settle()
		case m.rnd.IntN(3) == 0:
			w.commit()
		case m.rnd.IntN(3) == 0 && m.kind != modelForks:
			m.load(w.engine, zodb.OID(m.rnd.IntN(modelOIDs)), m.anyTID())
		}
	}
}

func (w *modelWriter) open() {
	m := w.m
	if m.rnd.IntN(30) > 0 {
		return // not at once, or the two do nothing but take over
	}
	e, err := m.openWriter(w.name, m.anyFront())
	if err != nil {
		m.tolerable("open", err)
		return
	}
	m.count["takeovers"]++
	w.engine = e
	m.check(e)
}

func (w *modelWriter) commit() {
	m, e := w.m, w.engine
	batch := w.batch(e)
	n, err := e.Append(context.Background(), batch, nil)
	switch {
	case err == nil && n == len(batch):
		m.count["acked"]++
		w.must(batch)
		m.check(e)
	case errors.Is(err, zodb.ErrCommitUnknown):
		m.count["unknown"]++
		w.doubt = batch
	case err != nil && n == 0:
		m.count["refused"]++
		w.mustNot(batch)
	default:
		m.fail("Append = %d, %v", n, err)
	}
	if e.halted != nil {
		w.engine, w.doubt = nil, nil
	}
	m.forked(e, err)
}

func (w *modelWriter) must(batch []*txnlog.Txn) {
	if w.m.kind == modelForks {
		return // it may be lost
	}
	for _, t := range batch {
		if !w.m.token[t.Token] {
			w.m.fail("transaction %v was said to be committed, and is not in the log", t.TID)
		}
	}
}

func (w *modelWriter) mustNot(batch []*txnlog.Txn) {
	for _, t := range batch {
		w.m.never[t.Token] = true
		if w.m.token[t.Token] {
			w.m.fail("transaction %v was said not to be committed, and is in the log", t.TID)
		}
	}
}

func (w *modelWriter) settle() {
	m, e, batch := w.m, w.engine, w.doubt
	head, err := e.Settle(context.Background())
	if err != nil && e.halted != nil {
		w.engine, w.doubt = nil, nil // it will never be known
		return
	}
	if err != nil {
		m.tolerable("settle", err)
		return
	}
	m.count["settled"]++
	w.doubt = nil
	if head >= batch[0].TID {
		w.must(batch)
	} else {
		w.mustNot(batch)
	}
	if e.halted != nil {
		w.engine = nil
	}
	m.check(e)
}

func (w *modelWriter) batch(e *Engine) []*txnlog.Txn {
	rnd := w.m.rnd
	batch := make([]*txnlog.Txn, 1+rnd.IntN(2))
	tid, written := e.st.last, map[zodb.OID]zodb.TID{}
	for i := range batch {
		w.n++
		tid += zodb.TID(1 + rnd.IntN(3))
		t := &txnlog.Txn{TID: tid, Status: ' '}
		copy(t.Token[:], w.name)
		binary.BigEndian.PutUint64(t.Token[8:], w.n)
		for _, oid := range rnd.Perm(modelOIDs)[:1+rnd.IntN(2)] {
			oid := zodb.OID(oid)
			prev, ok := written[oid]
			if !ok {
				prev = e.st.index.Newest(oid)
			}
			written[oid] = tid
			r := txnlog.Record{OID: oid, Prev: prev, Data: fmt.Appendf(nil, "%s %d of %v", w.name, w.n, oid)}
			for range rnd.IntN(3) {
				r.Data = fmt.Appendf(r.Data, ">%d", rnd.IntN(modelOIDs))
			}
			if rnd.IntN(12) == 0 {
				r.Kind, r.Data = txnlog.Delete, nil
			}
			t.Records = append(t.Records, r)
		}
		batch[i] = t
	}
	return batch
}

// behind does what a server does behind. It holds on to an engine for a while, also when
// its server has been started again.
func (w *modelWriter) behind() {
	m := w.m
	for {
		m.pause()
		e := w.engine
		if e == nil || m.rnd.IntN(4) > 0 {
			continue
		}
		for range 1 + m.rnd.IntN(3) {
			w.keep(e)
		}
	}
}

func (w *modelWriter) keep(e *Engine) {
	m := w.m
	var err error
	switch what := m.rnd.IntN(20); {
	case what < 4 && e.front != nil:
		if err = e.move(context.Background(), math.MaxUint64); err == nil && m.kind == modelForks {
			m.count["moved"]++
		}
	case what < 8:
		err = e.Checkpoint(context.Background())
	case what < 15:
		if err = e.Compact(context.Background()); err == nil {
			m.count["compacted"]++
		}
	case what < 16:
		opts := zodb.PackOptions{GC: m.gc && m.rnd.IntN(2) == 0}
		if err = e.Pack(context.Background(), m.anyTID(), opts); err == nil {
			m.count["packs"]++
		}
	default:
		floor := m.floor
		if err = e.Collect(context.Background()); err == nil && m.floor > floor {
			m.count["collected"]++
		}
	}
	if err != nil {
		m.tolerable("behind", err)
	}
}
