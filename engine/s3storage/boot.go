package s3storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/s3storage/index"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/zodb"
)

// boot reads the database: its format, the newest checkpoint that can be found, and
// the log behind it.
func (e *Engine) boot(ctx context.Context) error {
	database, err := e.format(ctx)
	if err != nil {
		return err
	}
	const tries = 5 // what a checkpoint needs may be deleted while it is read, if it is an old one
	from := ""
	for try := 1; ; try++ {
		key, err := e.newestCheckpoint(ctx, database)
		if err != nil {
			return err
		}
		if key != from {
			from, try = key, 1 // others go on, and faster than this
		}
		if err = e.bootFrom(ctx, database, key); err == nil || !errors.Is(err, errBehind) || try == tries {
			return err
		}
		e.opts.Logger.Info("the checkpoint was too old; starting again", "storage", e.Name(), "error", err)
	}
}

// errBehind says that what comes next may have been deleted: one has to start from a
// newer checkpoint.
var errBehind = errors.New("what follows in the log has been collected")

// bootFrom starts from a checkpoint; "" is the beginning of the log.
func (e *Engine) bootFrom(ctx context.Context, database layout.ID, key string) error {
	st := newState(database)
	info := checkpointInfo{}
	if key != "" {
		c, err := e.loadCheckpoint(ctx, key, st)
		if err != nil {
			return err
		}
		info = checkpointInfo{key: key, slot: c.Slot, when: e.opts.Elapsed()}
	}
	e.mu.Lock()
	e.st = st
	e.forget() // together with that: who asks for changes must not miss what is skipped
	e.mu.Unlock()
	e.checkpoint = info
	_, err := e.catchUp(ctx)
	return err
}

// format reads the object that names the database, or makes it.
func (e *Engine) format(ctx context.Context) (layout.ID, error) {
	object, err := e.read(ctx, layout.FormatKey, objstore.Range{})
	if errors.Is(err, objstore.ErrNotExist) && e.opts.ReadOnly {
		return layout.ID{}, fmt.Errorf("there is no database: %w", err)
	}
	for delay := 10 * time.Millisecond; errors.Is(err, objstore.ErrNotExist); delay *= 4 {
		if err := e.isEmpty(ctx); err != nil {
			return layout.ID{}, err
		}
		f := layout.Format{Database: layout.NewID(), Created: time.Now().Unix()}
		_, put := e.objects.Put(ctx, layout.FormatKey, f.Encode(), objstore.IfAbsent)
		if object, err = e.read(ctx, layout.FormatKey, objstore.Range{}); err != nil && (delay > time.Second || ctx.Err() != nil) {
			return layout.ID{}, errors.Join(put, err)
		}
		if err != nil {
			e.opts.Sleep(ctx, delay)
		}
	}
	if err != nil {
		return layout.ID{}, err
	}
	f, err := layout.DecodeFormat(object)
	return f.Database, inObject(layout.FormatKey, err)
}

// errPart says that a database has no name.
var errPart = errors.New("there is a part of a database: of a branch that was not finished, or is being dropped (zari branch --drop removes it)")

// isEmpty makes sure that what is about to be a new database is not a part of one.
func (e *Engine) isEmpty(ctx context.Context) error {
	_, err := e.read(ctx, layout.PinsKey, objstore.Range{})
	if err == nil {
		return errPart
	}
	if errors.Is(err, objstore.ErrNotExist) {
		return nil
	}
	return err
}

// inObject names the object that an error is about.
func inObject(key string, err error) error {
	if err == nil {
		return nil
	}
	return &zodb.CorruptError{File: key, Record: "object", Err: err}
}

// newestCheckpoint returns the key of a checkpoint from which one can go on, "" for the
// beginning. The hint may be old or missing; the floor's one is never too old.
func (e *Engine) newestCheckpoint(ctx context.Context, database layout.ID) (string, error) {
	floor, _, err := e.readFloor(ctx, database)
	if err != nil {
		return "", err
	}
	best := floor.Checkpoint
	hint, err := e.hint(ctx, database)
	if err != nil && !errors.Is(err, objstore.ErrNotExist) {
		e.opts.Logger.Warn("the hint cannot be used; the start takes longer", "storage", e.Name(), "error", err)
	}
	if err != nil {
		hint = e.listCheckpoints(ctx)
	}
	if hint == "" {
		return best, nil
	}
	at, ok := layout.CheckpointSlot(hint)
	if least, _ := layout.CheckpointSlot(best); ok && (best == "" || at > least) {
		best = hint
	}
	return best, nil
}

// hint returns the key of the checkpoint that the hint names.
func (e *Engine) hint(ctx context.Context, database layout.ID) (string, error) {
	object, err := e.read(ctx, layout.HintKey, objstore.Range{})
	if err != nil {
		return "", err
	}
	p, err := layout.DecodeHint(object)
	if err == nil && p.Database != database {
		err = errors.New("it is another database's")
	}
	return p.Checkpoint, inObject(layout.HintKey, err)
}

// listCheckpoints returns the newest checkpoint that a list shows, "" if it shows none.
func (e *Engine) listCheckpoints(ctx context.Context) (newest string) {
	for info, err := range e.objects.List(ctx, layout.CheckpointPrefix, "") {
		if err != nil {
			return newest
		}
		if _, ok := layout.CheckpointSlot(info.Key); ok && info.Key > newest {
			newest = info.Key
		}
	}
	return newest
}

// readFloor returns the floor and its etag, both zero if there is none.
func (e *Engine) readFloor(ctx context.Context, database layout.ID) (layout.Pointer, string, error) {
	for delay := 10 * time.Millisecond; ; delay *= 4 {
		object, info, err := objstore.Read(ctx, e.objects, layout.FloorKey, objstore.Range{})
		if errors.Is(err, objstore.ErrNotExist) {
			return layout.Pointer{}, "", nil
		}
		if err == nil {
			p, err := layout.DecodeFloor(object)
			if err == nil && p.Database != database {
				err = errors.New("it is another database's")
			}
			return p, info.ETag, inObject(layout.FloorKey, err)
		}
		if ctx.Err() != nil || delay > time.Second {
			return layout.Pointer{}, "", err
		}
		e.opts.Sleep(ctx, delay)
	}
}

// loadCheckpoint fills a state. What is missing means that the checkpoint is old.
func (e *Engine) loadCheckpoint(ctx context.Context, key string, st *state) (*layout.Checkpoint, error) {
	object, err := e.read(ctx, key, objstore.Range{})
	if err != nil {
		return nil, missing(err)
	}
	c, err := layout.DecodeCheckpoint(object)
	if err == nil && c.Database != st.database {
		err = errors.New("it is another database's")
	}
	if err != nil {
		return nil, inObject(key, err)
	}
	if err := e.loadRuns(ctx, c, st, st.fill(c)); err != nil {
		return nil, err
	}
	return c, nil
}

// fill takes everything of a checkpoint but the index, and returns the numbers of the places.
func (s *state) fill(c *layout.Checkpoint) map[layout.Place]uint32 {
	s.slot, s.hash, s.epoch, s.last, s.maxOID = c.Slot, c.Hash, c.Epoch, c.LastTID, c.MaxOID
	s.meta, s.packedTo, s.front = c.Meta, c.PackedTo, c.Front
	s.replaced, s.garbage = c.Replaced, c.Garbage
	s.collecting, s.collectingSlot = c.Collecting, c.CollectingSlot
	numbers := make(map[layout.Place]uint32)
	for i := range c.Segments {
		p := s.add(segmentPlace(&c.Segments[i]))
		numbers[p.Place] = p.number
	}
	for i := range c.Logs {
		p := s.add(logPlace(&c.Logs[i]))
		numbers[p.Place] = p.number
	}
	return numbers
}

// missing makes an object that is not there errBehind.
func missing(err error) error {
	if errors.Is(err, objstore.ErrNotExist) {
		return fmt.Errorf("%w: %w", errBehind, err)
	}
	return err
}

// loadRuns reads the runs of a checkpoint into the index. They are merged in order, so that the
// index has no gaps.
func (e *Engine) loadRuns(ctx context.Context, c *layout.Checkpoint, st *state, numbers map[layout.Place]uint32) error {
	sources := make([]*runSource, len(c.Runs))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(e.opts.Parallel)
	for i, info := range c.Runs {
		load := func() (err error) {
			sources[i], err = e.openRun(gctx, st.database, info, numbers)
			return err
		}
		if e.opts.Manual {
			if err := load(); err != nil {
				return err
			}
			continue
		}
		group.Go(load)
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, s := range sources {
		st.runs = append(st.runs, run{RunInfo: c.Runs[i]})
		for _, b := range s.run.Blobs {
			st.blobs[blobs.ID{OID: b.OID, TID: b.TID}] = b.Blob
		}
	}
	return mergeRuns(sources, &st.index)
}

// runSource yields the entries of a run.
type runSource struct {
	key   string
	run   *layout.Run
	place []uint32 // our numbers of its places
	block []layout.Entry
	i     int
}

func (e *Engine) openRun(ctx context.Context, database layout.ID, info layout.RunInfo, numbers map[layout.Place]uint32) (*runSource, error) {
	s := &runSource{key: layout.RunKey(info.ID)}
	object, err := e.readParts(ctx, s.key, info.Size)
	if err != nil {
		return nil, missing(err)
	}
	if s.run, err = layout.OpenRun(object, database, info.ID); err != nil {
		return nil, inObject(s.key, err)
	}
	for _, p := range s.run.Places {
		n, ok := numbers[p]
		if !ok {
			return nil, inObject(s.key, fmt.Errorf("it names %s, which the checkpoint does not", p.Key()))
		}
		s.place = append(s.place, n)
	}
	return s, s.fill()
}

// partLen is how much of a large object is read at a time.
const partLen = 8 << 20

// readParts reads a large object, several parts at a time.
func (e *Engine) readParts(ctx context.Context, key string, size int64) ([]byte, error) {
	if size <= partLen || e.opts.Manual {
		return e.read(ctx, key, objstore.Range{})
	}
	object := make([]byte, size)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for off := int64(0); off < size; off += partLen {
		n := min(partLen, size-off)
		group.Go(func() error {
			part, err := e.read(ctx, key, objstore.Range{Off: off, Len: n})
			if err == nil && int64(len(part)) != n {
				err = inObject(key, fmt.Errorf("it has not the %d bytes it should have", size))
			}
			copy(object[off:], part)
			return err
		})
	}
	return object, group.Wait()
}

func (s *runSource) fill() (err error) {
	s.i = 0
	s.block, err = s.run.Next(s.block)
	return inObject(s.key, err)
}

func (s *runSource) head() *layout.Entry { return &s.block[s.i] }

func (s *runSource) next() (index.Entry, error) {
	x := s.block[s.i]
	var err error
	if s.i++; s.i == len(s.block) {
		err = s.fill()
	}
	return index.Entry{OID: x.OID, TID: x.TID, Loc: index.At(s.place[x.Place], x.Off, index.Size(x.Size))}, err
}

// mergeRuns appends the entries of all runs in order. There are few runs.
func mergeRuns(sources []*runSource, x *index.Index) error {
	last := index.Entry{}
	for first := true; ; first = false {
		var least *runSource
		for _, s := range sources {
			if len(s.block) > 0 && (least == nil || before(s.head(), least.head())) {
				least = s
			}
		}
		if least == nil {
			return nil
		}
		e, err := least.next()
		if err != nil {
			return err
		}
		if !first && (e.OID < last.OID || e.OID == last.OID && e.TID <= last.TID) {
			return inObject(least.key, fmt.Errorf("revision %v of object %v is out of order", e.TID, e.OID))
		}
		x.Append(e)
		last = e
	}
}

func before(a, b *layout.Entry) bool { return a.OID < b.OID || a.OID == b.OID && a.TID < b.TID }

// catchUp reads the log behind what is known until there is nothing more, and
// returns how many objects that was. errBehind: what follows is gone.
func (e *Engine) catchUp(ctx context.Context) (int, error) {
	asked := e.opts.Elapsed()
	n, err := e.readOn(ctx)
	if err == nil {
		err = e.checkFloor(ctx)
	}
	if err == nil {
		e.known = asked
	}
	return n, err
}

// readOn is catchUp without a look at the floor: that there is no next slot may also mean that
// it has been deleted.
func (e *Engine) readOn(ctx context.Context) (n int, err error) {
	for ahead := 1; ; ahead = min(2*ahead, e.opts.Parallel) {
		objects, err := e.readAhead(ctx, e.st.slot+1, ahead)
		if err != nil {
			return n, err
		}
		for _, object := range objects {
			if err := e.take(ctx, object, false); err != nil {
				return n, e.whyNot(ctx, err)
			}
			n++
		}
		if len(objects) < ahead {
			return n, nil
		}
	}
}

// readAhead reads as many slots at the same time, and returns those before the first that
// is not there.
func (e *Engine) readAhead(ctx context.Context, from uint64, n int) ([][]byte, error) {
	objects := make([][]byte, n)
	get := func(ctx context.Context, i int) error {
		object, err := e.read(ctx, layout.LogKey(from+uint64(i)), objstore.Range{})
		if errors.Is(err, objstore.ErrNotExist) {
			return nil
		}
		objects[i] = object
		return err
	}
	if n == 1 || e.opts.Manual {
		for i := range n {
			if err := get(ctx, i); err != nil {
				return nil, err
			}
		}
	} else {
		group, ctx := errgroup.WithContext(ctx)
		for i := range n {
			group.Go(func() error { return get(ctx, i) })
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
	}
	for i, object := range objects {
		if object == nil {
			return objects[:i], nil
		}
	}
	return objects, nil
}

// take takes the next object of the log, which somebody else has written.
func (e *Engine) take(ctx context.Context, object []byte, onlyInFront bool) error {
	l, err := layout.DecodeLog(object)
	if err != nil {
		return inObject(layout.LogKey(e.st.slot+1), err)
	}
	if err := e.st.follows(l); err != nil {
		return err
	}
	var tables []*layout.Table
	if l.Kind == layout.Replace {
		if tables, err = e.tablesOf(ctx, l.Replace.New); err != nil {
			return missing(err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.apply(l, object, tables, onlyInFront)
	e.note(l)
	return nil
}

// apply brings the state to the next object of the log. e.mu is held.
func (e *Engine) apply(l *layout.Log, object []byte, tables []*layout.Table, onlyInFront bool) {
	e.st.apply(l, object, tables)
	if onlyInFront {
		e.backlog.add(waiting{l.Slot, object, len(l.Table.Txns), e.opts.Elapsed()})
	}
	e.trimTail()
}

// whyNot finds out about an object that does not follow: behind the floor, something
// else may lie in a slot than was there once.
func (e *Engine) whyNot(ctx context.Context, err error) error {
	if _, chain := errors.AsType[*chainError](err); chain {
		if behind := e.checkFloor(ctx); behind != nil {
			return behind
		}
	}
	return err
}

// checkFloor reports errBehind if the next slot may have been deleted.
func (e *Engine) checkFloor(ctx context.Context) error {
	floor, _, err := e.readFloor(ctx, e.st.database)
	if err != nil {
		return err
	}
	if floor.Slot > e.st.slot+1 {
		return fmt.Errorf("%w: slots below %d may be gone, and this is slot %d", errBehind, floor.Slot, e.st.slot)
	}
	return nil
}

// trimTail lets go of the oldest log objects in memory. e.mu is held.
func (e *Engine) trimTail() {
	sum := int64(0)
	for i := len(e.st.order) - 1; i >= 0; i-- {
		p := e.st.order[i]
		if p.data == nil {
			break // those before it have been let go, or are segments
		}
		if sum += p.size; sum > e.opts.TailBytes && !e.backlog.has(p.Slot) {
			p.data = nil
		}
	}
}

// tablesOf reads the tables of segments.
func (e *Engine) tablesOf(ctx context.Context, segments []layout.Segment) ([]*layout.Table, error) {
	tables := make([]*layout.Table, len(segments))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(e.opts.Parallel)
	for i := range segments {
		get := func(ctx context.Context) (err error) {
			tables[i], err = e.tableOf(ctx, segmentPlace(&segments[i]))
			return err
		}
		if e.opts.Manual {
			if err := get(ctx); err != nil {
				return nil, err
			}
			continue
		}
		group.Go(func() error { return get(gctx) })
	}
	return tables, group.Wait()
}

// tableOf reads the table of a place.
func (e *Engine) tableOf(ctx context.Context, p *place) (*layout.Table, error) {
	if t := e.tables.get(p.Place); t != nil {
		return t, nil
	}
	raw, err := e.read(ctx, p.Key(), objstore.Range{Off: p.table, Len: int64(p.tableLen)})
	if err != nil {
		return nil, err
	}
	t, err := layout.DecodeTable(raw)
	if err != nil {
		return nil, inObject(p.Key(), err)
	}
	if t.BodyLen() != p.table-p.body || len(t.Txns) != p.txns {
		return nil, inObject(p.Key(), errors.New("its table does not fit what is known of it"))
	}
	e.tables.put(p.Place, t)
	return t, nil
}
