package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// commit is a voted transaction on its way through a committer, or a meta to
// be written (then txn and rec are nil).
type commit struct {
	txn       *txn
	rec       *txnlog.Txn
	committed func(zodb.TID)
	meta      *Meta
	done      chan error // gets one answer
	answered  bool       // it has got it: the fate was not known then
}

func (c *commit) isMeta() bool { return c.rec == nil }

// answer answers Finish, once.
func (c *commit) answer(err error) {
	if !c.answered {
		c.answered = true
		c.done <- err
	}
}

func (c *commit) bytes() (n int64) {
	if c.rec == nil {
		return 0
	}
	for i := range c.rec.Records {
		n += int64(c.rec.Records[i].Len())
	}
	return n
}

// maxGather bounds how long an append waits for company.
const maxGather = time.Millisecond

// committer takes transactions from Finish to their publication: an appender where
// nobody else writes to the medium, and a follower where others do.
type committer interface {
	// ready tells why there is no sense in voting now, nil if there is.
	ready() error
	// votedNow counts a transaction that has voted, and returns when that was; notSoon
	// takes that back.
	votedNow() (epoch uint64)
	notSoon(epoch uint64)

	// add takes a commit, which will be answered. With an error nothing was done.
	add(c *commit) error
	// addTogether takes commits that nobody has counted as voted, with nothing in
	// between.
	addTogether(list []*commit) error

	// hurry publishes what is durable by now as soon as can be.
	hurry()
	// close lets what was added finish, and waits for it.
	close()
	// settledAtEnd reports whether nothing was in doubt after close.
	settledAtEnd() bool
}

// appender is the committer of a medium to which nobody else writes. It has two
// goroutines: one appends, and alone calls Engine.Append, and one publishes.
type appender struct {
	store *Store

	mu      sync.Mutex
	wake    sync.Cond // queue or closed changed
	queue   []*commit
	closed  bool
	epoch   uint64        // counts the appends
	soon    [2]int        // transactions that voted in this epoch or the last, by epoch mod 2, and have not finished
	took    time.Duration // the last append
	doubt   bool          // the last append must be settled first
	inDoubt []*commit     // the transactions whose fate is not known
	shut    bool          // the gate has refused a batch: nothing may come after it

	given   atomic.Uint64 // the largest tid given
	publish chan []*commit
	wg      sync.WaitGroup
}

func newAppender(s *Store, head zodb.TID) *appender {
	c := &appender{store: s, publish: make(chan []*commit, 16)}
	c.wake.L = &c.mu
	c.given.Store(uint64(head))
	c.wg.Go(c.appendLoop)
	c.wg.Go(c.publishLoop)
	return c
}

func (c *appender) lastGiven() zodb.TID { return zodb.TID(c.given.Load()) }

var (
	errInDoubt = errors.New("the storage's medium did not say whether the last commit is kept; commits resume when that is settled")
	errShut    = errors.New("it is not known whether the last commit will be kept everywhere; the storage must be opened again")
)

func (c *appender) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refusal()
}

// refusal tells why nothing can be committed now, nil if something can. c.mu is
// held.
func (c *appender) refusal() error {
	switch {
	case c.closed:
		return zodb.ErrClosed
	case c.shut:
		return errShut
	case c.doubt:
		return errInDoubt
	}
	return nil
}

func (c *appender) add(x *commit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refusal(); err != nil {
		return err
	}
	c.queue = append(c.queue, x)
	if x.txn != nil {
		c.notSoonLocked(x.txn.votedIn)
	}
	c.wake.Signal()
	return nil
}

func (c *appender) addTogether(list []*commit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refusal(); err != nil {
		return err
	}
	c.queue = append(c.queue, list...)
	c.wake.Signal()
	return nil
}

// hurry has nothing to do: the publisher is at it.
func (c *appender) hurry() {}

func (c *appender) close() {
	c.mu.Lock()
	c.closed = true
	c.wake.Broadcast()
	c.mu.Unlock()
	c.store.published.happened() // not any more
	c.wg.Wait()
}

func (c *appender) settledAtEnd() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.doubt && !c.shut
}

func (c *appender) appendLoop() {
	defer close(c.publish)
	for {
		batch := c.next()
		if batch == nil {
			return
		}
		c.append(batch)
		if !c.settle() {
			return
		}
	}
}

// next waits for commits and takes as many as make a good batch; nil when closed.
func (c *appender) next() []*commit {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 {
		if c.closed {
			return nil
		}
		c.wake.Wait()
	}
	c.keepPace()
	c.gather()
	return c.cut()
}

// more takes the transactions that wait by now, and those that join them in a moment; nil
// if there are none, or a meta waits among them.
func (c *appender) more() []*commit {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) > 0 {
		c.gather()
	}
	if len(c.queue) == 0 || slices.ContainsFunc(c.queue, (*commit).isMeta) {
		return nil
	}
	return c.cut()
}

// cut takes the next batch from the queue. c.mu is held.
func (c *appender) cut() []*commit {
	c.epoch++
	c.soon[c.epoch%2] = 0
	n := batchLen(c.store.opts.BatchBytes, c.queue, (*commit).bytes)
	batch := c.queue[:n:n]
	c.queue = c.queue[n:]
	if len(c.queue) == 0 {
		c.queue = nil
	}
	return batch
}

// keepPace waits as long as the engine wants transactions to gather. c.mu is held.
func (c *appender) keepPace() {
	if p, ok := c.store.engine.(Pacer); ok {
		c.waitAtMost(p.Gather(), func() bool { return c.closed })
	}
}

// gather waits for those who have voted a moment ago and will finish in another:
// they then share the append. It waits no longer than an append takes, and not for
// clients that dawdle: who voted before the last append is not waited for. c.mu is
// held.
func (c *appender) gather() {
	c.waitAtMost(min(c.took, maxGather), func() bool { return c.closed || c.soon[0]+c.soon[1] <= 0 })
}

// waitAtMost waits until done, which is asked whenever wake is signalled, but no longer
// than d. c.mu is held.
func (c *appender) waitAtMost(d time.Duration, done func() bool) {
	if d <= 0 || done() {
		return
	}
	over := false // the timer may fire before the wait begins
	timer := time.AfterFunc(d, func() {
		c.mu.Lock()
		over = true
		c.mu.Unlock()
		c.wake.Broadcast()
	})
	defer timer.Stop()
	for !over && !done() {
		c.wake.Wait()
	}
}

func (c *appender) votedNow() (epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.soon[c.epoch%2]++
	return c.epoch
}

func (c *appender) notSoon(epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notSoonLocked(epoch)
}

func (c *appender) notSoonLocked(epoch uint64) {
	if epoch+1 >= c.epoch {
		c.soon[epoch%2]--
		c.wake.Signal()
	}
}

// append makes a batch durable and hands it to the publisher; and where that takes no
// more syncs, those that come meanwhile.
func (c *appender) append(batch []*commit) {
	if s, ok := c.store.engine.(Streamer); ok && !slices.ContainsFunc(batch, (*commit).isMeta) {
		c.stream(s, batch)
		return
	}
	x := c.begin(batch)
	n, err := c.store.engine.Append(context.Background(), x.txns, x.meta)
	for _, m := range batch {
		if m.isMeta() {
			m.done <- err
		}
	}
	c.end(x, n, err)
}

// stream makes a batch durable, and in the same syncs those that come meanwhile.
func (c *appender) stream(s Streamer, first []*commit) {
	var open []*appending
	s.Stream(context.Background(), func() []*txnlog.Txn {
		batch := first
		if first = nil; batch == nil {
			batch = c.more()
		}
		if batch == nil {
			return nil
		}
		x := c.begin(batch)
		open = append(open, x)
		return x.txns
	}, func(n int, err error) {
		c.end(open[0], n, err)
		open = open[1:]
	})
}

// appending is a batch on its way to the medium.
type appending struct {
	commits []*commit // those with a transaction
	txns    []*txnlog.Txn
	meta    *Meta
	began   time.Time
}

// begin gives the transactions of a batch their tids.
func (c *appender) begin(batch []*commit) *appending {
	a := &appending{commits: make([]*commit, 0, len(batch)), txns: make([]*txnlog.Txn, 0, len(batch)), began: time.Now()}
	for _, x := range batch {
		if x.isMeta() {
			a.meta = x.meta
			continue
		}
		c.giveTID(x)
		c.store.window.enter(x.txn.replaced, x.rec.TID)
		a.txns = append(a.txns, x.rec)
		a.commits = append(a.commits, x)
	}
	if planted.PublishBeforeDurable {
		c.store.publish(a.commits)
		planted.Stall()
	}
	return a
}

// end hands the first n transactions, which are durable, to the publisher, and ends the
// others.
func (c *appender) end(a *appending, n int, err error) {
	c.mu.Lock()
	c.took = time.Since(a.began)
	c.mu.Unlock()
	c.store.stats.batches.Add(int64(min(len(a.txns), 1)))
	if planted.PublishBeforeDurable {
		return
	}
	if n > 0 {
		c.publish <- a.commits[:n]
	}
	if err != nil {
		c.fail(a.commits[n:], err)
	}
}

// giveTID gives the next tid, unless the transaction brought its own.
func (c *appender) giveTID(x *commit) {
	if x.rec.TID == 0 {
		x.rec.TID = zodb.NextTID(c.store.opts.Clock(), c.lastGiven())
	}
	c.given.Store(max(c.given.Load(), uint64(x.rec.TID)))
}

// fail ends the transactions that are not durable, or puts them in doubt.
func (c *appender) fail(commits []*commit, err error) {
	if errors.Is(err, zodb.ErrCommitUnknown) {
		c.mu.Lock()
		c.doubt = true
		c.inDoubt = append(c.inDoubt, commits...)
		c.refuseMetas()
		c.mu.Unlock()
		for _, x := range commits {
			x.answer(err) // the locks stay until it is settled
		}
		c.store.published.happened() // not soon
		return
	}
	for _, x := range commits {
		x.txn.giveUp()
		x.done <- err
	}
}

// refuseMetas answers for the metas that wait behind an append in doubt: those
// who asked for them can do something else. Transactions wait, for they have
// voted. c.mu is held.
func (c *appender) refuseMetas() {
	c.queue = slices.DeleteFunc(c.queue, func(x *commit) bool {
		if x.isMeta() {
			x.done <- errInDoubt
		}
		return x.isMeta()
	})
}

// settle asks the engine what became of an append in doubt, again and again,
// until it is known; false if the store was closed before.
func (c *appender) settle() bool {
	c.mu.Lock()
	doubt, commits := c.doubt, c.inDoubt
	c.mu.Unlock()
	if !doubt {
		return true
	}
	log := c.store.opts.Logger
	log.Error("the medium did not say whether the last commit is kept; votes wait until it does", "transactions", len(commits))
	for delay := 10 * time.Millisecond; ; delay = min(2*delay, 10*time.Second) {
		head, err := c.trySettle()
		if err == nil {
			c.settled(head, commits)
			log.Info("commits resume", "last", head)
			return true
		}
		log.Error("settling failed", "err", err, "again_in", delay)
		if c.waitClosed(delay) {
			c.abandon(commits)
			return false
		}
	}
}

func (c *appender) trySettle() (zodb.TID, error) {
	settler, ok := c.store.engine.(Settler)
	if !ok {
		return 0, errors.New("this storage must be reopened")
	}
	return settler.Settle(context.Background())
}

// settled publishes what turned out to be durable and ends the rest.
func (c *appender) settled(head zodb.TID, commits []*commit) {
	n := 0
	for n < len(commits) && commits[n].rec.TID <= head {
		n++
	}
	if n > 0 {
		c.publish <- commits[:n]
	}
	for _, x := range commits[n:] {
		x.txn.giveUp()
	}
	c.mu.Lock()
	c.doubt, c.inDoubt = false, nil
	c.mu.Unlock()
}

// abandon ends transactions whose fate this process will not learn.
func (c *appender) abandon(commits []*commit) {
	for _, x := range commits {
		x.txn.free()
	}
	c.mu.Lock()
	queue := c.queue
	c.queue = nil
	c.mu.Unlock()
	for _, x := range queue {
		if x.txn != nil {
			x.txn.giveUp()
		}
		x.done <- zodb.ErrClosed
	}
}

// waitClosed waits for d and reports whether the store was closed meanwhile.
func (c *appender) waitClosed(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waitAtMost(d, func() bool { return c.closed })
	return c.closed
}

func (c *appender) publishLoop() {
	var shut error // why the gate refused a batch: those appended by then follow it
	for batch := range c.publish {
		if gate := c.store.opts.Gate; gate != nil && shut == nil {
			shut = gate.Wait(context.Background(), batch[len(batch)-1].rec.TID)
		}
		if shut != nil {
			c.refused(batch, shut)
			continue
		}
		c.store.publish(batch)
	}
}

// refused answers for a batch that is durable here but was not let through the
// gate: whether it will be kept is decided elsewhere, so it is never shown, its
// locks stay, and nothing can be committed after it.
func (c *appender) refused(batch []*commit, err error) {
	c.store.opts.Logger.Error("commits were appended but may not be published; the storage stops taking commits", "err", err)
	c.mu.Lock()
	c.shut = true
	c.mu.Unlock()
	c.store.published.happened() // never
	for _, x := range batch {
		x.answer(errors.Join(zodb.ErrCommitUnknown, err))
	}
}
