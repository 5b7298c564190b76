package s3storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// The model check of branches: a database and its branches, and theirs, each with a
// writer, with what it does behind (checkpoints, compactions, packs, collections) and with
// a reader; others make branches, die while they do, and drop them. The buckets fail at
// random. What it holds to be true:
//
//   - Every database has what its original had when it was branched off, and what was
//     committed to it since, as far as it has not packed that itself.
//   - Half a branch is never opened.
//   - In the end, when all branches are dropped, nothing is left in the original that it
//     does not need.
//
// ZARI_S3_STEPS and ZARI_S3_SEED are those of TestModel.
func TestBranchModel(t *testing.T) {
	seed, steps := uint64(1), 4*branchRound
	if s, err := strconv.ParseUint(os.Getenv("ZARI_S3_SEED"), 10, 64); err == nil {
		seed = s
	}
	if n, err := strconv.Atoi(os.Getenv("ZARI_S3_STEPS")); err == nil {
		steps = n
	}
	total := make(map[string]int)
	for ; steps > 0; steps -= branchRound {
		m := newBranchModel(seed)
		m.run(branchRound)
		m.end()
		if m.failure != nil {
			t.Fatal(m.failure)
		}
		t.Logf("seed %d: %v", seed, m.count)
		for what, n := range m.count {
			total[what] += n
		}
		seed++
	}
	for _, what := range []string{"commits", "branches", "of branches", "crashes", "dropped", "packed", "collected", "spared", "read"} {
		if total[what] == 0 {
			t.Errorf("nothing was ever %s: the model is no test", what)
		}
	}
}

const (
	branchRound = 50_000
	branchGrace = 150 * time.Second // a step is a second
	usuallyLazy = 100
)

type branchModel struct {
	seed    uint64
	rnd     *rand.Rand
	now     int
	faults  fake.Rule
	all     []*coroutine
	current *coroutine
	failure error
	dbs     []*modelDB // dbs[0] is the original
	count   map[string]int
}

// modelDB is a database, or what may become one.
type modelDB struct {
	m        *branchModel
	name     string
	bucket   *fake.Bucket
	parent   *modelDB
	alive    bool // it is a database
	dropping bool
	revs     map[zodb.OID][]revision
	last     zodb.TID
	packed   zodb.TID
	engine   *Engine
	busy     int // coroutines that use it
	n        int
}

// coroutine stops before each of its requests.
type coroutine struct {
	name   string
	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	stands int // until this step
	lazy   int // it stands still once in so many steps
	dies   int // with so many requests from now, if not 0
}

type died struct{}

func newBranchModel(seed uint64) *branchModel {
	m := &branchModel{seed: seed, rnd: rand.New(rand.NewPCG(seed, 0xb7)), count: make(map[string]int)}
	m.faults = fake.Random(seed, fake.Rates{Slow: .01, Lost: .02, Late: .01, Twice: .01, Conflict: .01})
	m.add(nil).alive = true
	m.start("brancher", m.brancher)
	m.start("second brancher", m.brancher)
	m.start("dropper", m.dropper)
	return m
}

func (m *branchModel) add(parent *modelDB) *modelDB {
	d := &modelDB{m: m, name: fmt.Sprintf("db%d", len(m.dbs)), parent: parent, revs: make(map[zodb.OID][]revision)}
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	d.bucket = fake.NewBucket(fake.Options{
		Now:      func() time.Time { return base.Add(time.Duration(m.now) * time.Second) },
		OnChange: d.changed,
	})
	m.dbs = append(m.dbs, d)
	m.start(d.name+" writer", d.writer)
	m.start(d.name+" behind", d.behind)
	m.start(d.name+" reader", d.reader)
	return d
}

func (m *branchModel) start(name string, run func()) {
	c := &coroutine{name: name, lazy: usuallyLazy}
	c.resume, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		defer func() {
			if r := recover(); r != nil && r != any(stopped{}) {
				panic(r)
			}
		}()
		run()
	})
	m.all = append(m.all, c)
}

func (m *branchModel) pause() {
	if !m.current.yield(struct{}{}) {
		panic(stopped{})
	}
}

func (m *branchModel) run(steps int) {
	for m.now < steps && m.failure == nil {
		m.now++
		m.current = m.all[m.rnd.IntN(len(m.all))]
		switch {
		case m.current.stands > m.now:
		case m.rnd.IntN(m.current.lazy) == 0:
			m.current.stands = m.now + m.rnd.IntN(1500)
		default:
			m.current.resume()
		}
	}
}

func (m *branchModel) fail(format string, args ...any) {
	if m.failure == nil {
		m.failure = fmt.Errorf("step %d of seed %d, %s: %w", m.now, m.seed, m.current.name, fmt.Errorf(format, args...))
	}
}

// rule is asked before each request of a coroutine.
func (m *branchModel) rule(op fake.Op) fake.Fault {
	m.pause()
	if c := m.current; c.dies > 0 {
		if c.dies--; c.dies == 0 {
			panic(died{})
		}
	}
	return m.faults(op)
}

func (m *branchModel) openURL(_ context.Context, url string) (objstore.Store, error) {
	for _, d := range m.dbs {
		if d.name == url {
			return d.client(), nil
		}
	}
	return nil, fmt.Errorf("no bucket %q", url)
}

func (d *modelDB) client() *fake.Store {
	c := d.bucket.Open(d.name)
	c.SetRule(d.m.rule)
	return c
}

func (d *modelDB) options() Options {
	m := d.m
	return Options{
		Objects: d.client(), Name: d.name, Writer: d.name, Manual: true, OpenURL: m.openURL, Parallel: 4,
		Doubt: 30 * time.Second, Grace: branchGrace, BlobGrace: branchGrace, SegmentBytes: 1500, TailBytes: 1500,
		Elapsed: func() time.Duration { return time.Duration(m.now) * time.Second },
		Sleep:   func(context.Context, time.Duration) { m.pause() },
	}
}

// changed sees what is committed.
func (d *modelDB) changed(key string, body []byte) {
	if body == nil || !strings.HasPrefix(key, layout.LogPrefix) {
		return
	}
	l, err := layout.DecodeLog(body)
	if err != nil {
		d.m.fail("%s: %w", key, err)
		return
	}
	for body := l.Txns; len(body) > 0; {
		t, rest, err := txnlog.Decode(body)
		if err != nil || t.TID <= d.last {
			d.m.fail("%s has transaction %v after %v: %v", key, t.TID, d.last, err)
			return
		}
		d.last = t.TID
		for i := range t.Records {
			r := &t.Records[i]
			d.revs[r.OID] = append(d.revs[r.OID], revision{oid: r.OID, tid: t.TID, data: string(r.Data)})
		}
		body = rest
	}
}

// inherit takes what the original had up to a transaction.
func (d *modelDB) inherit(upTo zodb.TID) {
	for oid, revs := range d.parent.revs {
		for _, r := range revs {
			if r.tid <= upTo {
				d.revs[oid] = append(d.revs[oid], r)
			}
		}
	}
	d.last, d.packed = max(d.last, upTo), d.parent.packed
}

// use keeps the database from being dropped while it is used.
func (d *modelDB) use(fn func()) {
	d.busy++
	defer func() { d.busy-- }()
	fn()
}

func (m *branchModel) tolerable(what string, err error) {
	if errors.Is(err, zodb.ErrCorrupt) {
		m.fail("%s: %w", what, err)
	}
}

func (d *modelDB) writer() {
	m := d.m
	for {
		m.pause()
		switch {
		case !d.alive || d.dropping:
			d.engine = nil
		case d.engine == nil:
			d.use(d.openToWrite)
		case m.rnd.IntN(300) == 0:
			d.engine = nil // it crashes
		case m.rnd.IntN(3) == 0:
			d.use(func() { d.commit(d.engine) })
		}
	}
}

func (d *modelDB) openToWrite() {
	e, err := Open(context.Background(), d.options())
	if err != nil {
		d.m.tolerable("open", err)
		return
	}
	d.engine = e
}

func (d *modelDB) commit(e *Engine) {
	d.n++
	rnd := d.m.rnd
	t := &txnlog.Txn{TID: e.st.last + zodb.TID(1+rnd.IntN(3)), Status: ' '}
	for _, oid := range rnd.Perm(modelOIDs)[:1+rnd.IntN(2)] {
		oid := zodb.OID(oid)
		t.Records = append(t.Records, txnlog.Record{
			OID: oid, Prev: e.st.index.Newest(oid), Data: fmt.Appendf(nil, "%s %d of %v%*s", d.name, d.n, oid, rnd.IntN(300), ""),
		})
	}
	if _, err := e.Append(context.Background(), []*txnlog.Txn{t}, nil); err != nil {
		d.m.tolerable("commit", err)
		d.engine = nil
		return
	}
	d.m.count["commits"]++
}

func (d *modelDB) behind() {
	for {
		d.m.pause()
		if e := d.engine; e != nil && !d.dropping && d.m.rnd.IntN(4) == 0 {
			d.use(func() { d.keep(e) })
		}
	}
}

func (d *modelDB) keep(e *Engine) {
	m, ctx := d.m, context.Background()
	var err error
	switch what := m.rnd.IntN(10); {
	case what < 2:
		err = e.Checkpoint(ctx)
	case what < 5:
		err = e.Compact(ctx)
	case what < 6 && e.st.last > 5:
		at := e.st.last - zodb.TID(m.rnd.IntN(5))
		d.packed = max(d.packed, at) // from when it may be so
		if err = e.Pack(ctx, at, zodb.PackOptions{NoGC: true}); err == nil {
			m.count["packed"]++
		}
	default:
		m.current.lazy = 15
		defer func(c *coroutine) { c.lazy = usuallyLazy }(m.current)
		needed, _ := e.pinned(ctx)
		spared := slices.ContainsFunc(e.st.garbage, func(g layout.Garbage) bool { return needed.has(g.Key) })
		if err = e.Collect(ctx); err == nil {
			m.count["collected"]++
			if spared {
				m.count["spared"]++
			}
		}
	}
	if err != nil {
		m.tolerable("behind", err)
	}
}

func (d *modelDB) reader() {
	m := d.m
	for {
		m.pause()
		if d.alive && !d.dropping && m.rnd.IntN(5) == 0 {
			d.use(d.read)
		}
	}
}

// read opens the database to read it, and looks at something for a while.
func (d *modelDB) read() {
	m := d.m
	opts := d.options()
	opts.ReadOnly = true
	e, err := Open(context.Background(), opts)
	if err != nil {
		m.tolerable("open to read", err)
		return
	}
	for range 1 + m.rnd.IntN(20) {
		if _, err := e.Follow(context.Background()); err != nil {
			m.tolerable("follow", err)
		}
		d.load(e, zodb.OID(m.rnd.IntN(modelOIDs)), e.st.last+1-min(e.st.last, zodb.TID(m.rnd.IntN(10))))
		m.count["read"]++
	}
}

// load compares a revision with what should be there.
func (d *modelDB) load(e *Engine, oid zodb.OID, before zodb.TID) {
	rec, err := e.LoadBefore(context.Background(), oid, before)
	for tries := 0; errors.Is(err, objstore.ErrNotExist) && tries < 30; tries++ {
		_, _ = e.Follow(context.Background()) // it was left standing for longer than garbage stays
		rec, err = e.LoadBefore(context.Background(), oid, before)
	}
	revs := d.revs[oid]
	n, _ := slices.BinarySearchFunc(revs, before, func(r revision, tid zodb.TID) int { return int(r.tid) - int(tid) })
	_, none := errors.AsType[*zodb.NoObjectError](err)
	switch {
	case none && (n == 0 || before <= d.packed):
	case none:
		d.m.fail("%s has no revision of object %v before %v, and there is %v (packed to %v)", d.name, oid, before, revs[n-1].tid, d.packed)
	case errors.Is(err, objstore.ErrNotExist):
		d.m.fail("%s, object %v before %v: %w", d.name, oid, before, err)
	case err != nil:
		d.m.tolerable("load", err)
	case n == 0 || rec.Serial != revs[n-1].tid || string(rec.Data) != revs[n-1].data:
		d.m.fail("%s, object %v before %v: revision %v", d.name, oid, before, rec.Serial)
	}
}

// brancher makes branches.
func (m *branchModel) brancher() {
	for {
		m.pause()
		parent := m.dbs[m.rnd.IntN(len(m.dbs))]
		if len(m.dbs) > 12 || m.rnd.IntN(100) > 0 || !parent.alive || parent.dropping || parent.last < 3 {
			continue
		}
		d := m.add(parent)
		parent.use(func() { d.use(func() { m.branch(d) }) })
	}
}

func (m *branchModel) branch(d *modelDB) {
	if m.rnd.IntN(2) == 0 {
		m.current.dies = 1 + m.rnd.IntN(60)
	}
	self := m.current
	self.lazy = 10
	defer func() {
		self.dies, self.lazy = 0, usuallyLazy
		if r := recover(); r != nil {
			if r != any(died{}) {
				panic(r)
			}
			m.count["crashes"]++
		}
	}()
	at := zodb.TID(0)
	if m.rnd.IntN(2) == 0 {
		at = d.parent.last - min(d.parent.last, zodb.TID(m.rnd.IntN(10)))
	}
	report, err := Branch(context.Background(), BranchOptions{
		From: d.parent.options(), To: d.options(), FromURL: d.parent.name, ToURL: d.name, At: at,
	})
	if err != nil {
		m.tolerable("branch", err)
		return
	}
	d.inherit(report.TID)
	d.alive = true
	m.count["branches"]++
	if d.parent.parent != nil {
		m.count["of branches"]++
	}
}

// dropper drops branches, whole ones and halves.
func (m *branchModel) dropper() {
	for {
		m.pause()
		d := m.dbs[m.rnd.IntN(len(m.dbs))]
		if d.parent != nil && m.rnd.IntN(150) == 0 {
			m.drop(d)
		}
	}
}

func (m *branchModel) drop(d *modelDB) {
	if slices.ContainsFunc(m.dbs, func(c *modelDB) bool { return c.parent == d && (c.alive || len(c.bucket.Keys()) > 0) }) {
		return // it has branches
	}
	d.dropping = true
	for d.busy > 0 {
		m.pause()
	}
	for len(d.bucket.Keys()) > 0 {
		if err := DropBranch(context.Background(), d.options(), true); err != nil {
			m.tolerable("drop", err)
			if errors.Is(err, errNoBranch) {
				break // what is here came late
			}
			if strings.Contains(err.Error(), "branches itself") {
				d.dropping = false // one has come meanwhile
				return
			}
		}
		m.pause()
	}
	if d.alive {
		m.count["dropped"]++
	}
	d.alive = false
}

// end looks at everything in buckets that work, drops all branches, and looks at what is
// left.
func (m *branchModel) end() {
	for _, c := range m.all {
		c.stop()
	}
	m.current = &coroutine{name: "the end", yield: func(struct{}) bool { return true }}
	m.faults = fake.Always(fake.Fault{})
	for _, d := range m.dbs {
		d.bucket.Land()
	}
	for _, d := range m.dbs {
		if m.failure == nil && d.alive && !d.dropping {
			d.wholeEnd()
		}
	}
	for _, d := range slices.Backward(m.dbs) {
		if m.failure == nil && d.parent != nil && len(d.bucket.Keys()) > 0 {
			if err := DropBranch(context.Background(), d.options(), true); err != nil && !errors.Is(err, errNoBranch) {
				m.fail("dropping %s: %w", d.name, err)
			}
		}
	}
	if m.failure == nil {
		m.nothingLeft()
	}
}

func (d *modelDB) wholeEnd() {
	e, err := Open(context.Background(), d.options())
	if err != nil {
		d.m.fail("%s cannot be opened: %w", d.name, err)
		return
	}
	for oid := range zodb.OID(modelOIDs) {
		for _, r := range d.revs[oid] {
			d.load(e, oid, r.tid+1)
		}
	}
}

// nothingLeft makes sure that the original has no more than it needs.
func (m *branchModel) nothingLeft() {
	d := m.dbs[0]
	e, err := Open(context.Background(), d.options())
	if err != nil {
		m.fail("%w", err)
		return
	}
	for range 4 {
		m.now += 10 * int(branchGrace/time.Second)
		if err := e.Collect(context.Background()); err != nil {
			m.fail("the last collections: %w", err)
		}
	}
	used := make(map[string]bool)
	for _, p := range e.st.order {
		used[p.Key()] = true
	}
	for _, key := range d.bucket.Keys() {
		if strings.HasPrefix(key, layout.SegmentPrefix) && !used[key] {
			m.fail("%s is left", key)
		}
	}
}
