package s3storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/zodb"
)

// Severity says how bad a Problem is.
type Severity string

const (
	Error   Severity = "error"   // something is lost, or cannot be read
	Warning Severity = "warning" // something is wrong that costs nothing yet
	Note    Severity = "note"    // nothing is wrong, but somebody may want to know
)

// Problem is something that is wrong in a bucket.
type Problem struct {
	Severity Severity `json:"severity"`
	Key      string   `json:"key"`
	What     string   `json:"what"`            // is wrong with the object
	Means    string   `json:"means,omitempty"` // for the database
}

func (p Problem) String() string {
	s := fmt.Sprintf("%s: %s: %s", p.Severity, p.Key, p.What)
	if p.Means != "" {
		s += " (" + p.Means + ")"
	}
	return s
}

// audit looks at a bucket as a server does that starts, but goes on behind what is wrong.
type audit struct {
	*Engine
	found    func(Problem)
	progress func(step string, done, total int64)

	format layout.Format
	list   map[string]objstore.Info // what there was when it began
	foul   bool                     // something is wrong, so that the state is not all that it should be

	floor, hint layout.Pointer
	base        string // key of the checkpoint from which the state was made
	noIndex     bool   // it has no index, or one with holes

	final   bool // it is not begun again if what it begins with has been replaced meanwhile
	said    map[Problem]bool
	missing []Problem // what is not there, if it is still needed when all else has been looked at
	errors  int
	warned  int
	noted   int
}

func newAudit(opts Options) *audit {
	opts.BlobDir = ""
	return &audit{
		Engine: newFiller(opts), said: make(map[Problem]bool),
		found: func(Problem) {}, progress: func(string, int64, int64) {},
	}
}

// say reports a problem.
func (a *audit) say(s Severity, key, what, means string) {
	p := Problem{s, key, what, means}
	if a.said[p] {
		return
	}
	a.said[p] = true
	switch s {
	case Error:
		a.errors++
	case Warning:
		a.warned++
	case Note:
		a.noted++
	}
	a.found(p)
}

// wrong reports an error about an object, unless it is one of the store or of who asks.
func (a *audit) wrong(s Severity, key string, err error, means string) error {
	if err == nil || !errors.Is(err, zodb.ErrCorrupt) && !errors.Is(err, objstore.ErrNotExist) && !errors.Is(err, objstore.ErrRange) {
		return err
	}
	if c, ok := errors.AsType[*zodb.CorruptError](err); ok {
		err = c.Err
	}
	switch {
	case errors.Is(err, objstore.ErrNotExist) && s == Error:
		a.missing = append(a.missing, Problem{s, key, "it is not there", means})
	case errors.Is(err, objstore.ErrNotExist):
		a.say(s, key, "it is not there", means)
	case errors.Is(err, objstore.ErrRange):
		a.say(s, key, "it is cut off", means)
	default:
		a.say(s, key, err.Error(), means)
	}
	return nil
}

// begin does something from the beginning, and again if what it began with has been replaced
// and deleted meanwhile.
func (a *audit) begin(ctx context.Context, do func(context.Context) error) error {
	const tries = 5
	for try := 1; ; try++ {
		a.final = try == tries
		a.foul, a.noIndex, a.base, a.missing = false, false, "", nil
		a.floor, a.hint, a.tables = layout.Pointer{}, layout.Pointer{}, tableCache{}
		if err := do(ctx); !errors.Is(err, errBehind) {
			return err
		}
	}
}

// listAll lists the bucket. A list may be old: who misses something looks for itself.
func (a *audit) listAll(ctx context.Context) error {
	a.list = make(map[string]objstore.Info)
	for info, err := range a.objects.List(ctx, "", "") {
		if err != nil {
			return err
		}
		a.list[info.Key] = info
		a.progress("listing", int64(len(a.list)), 0)
	}
	return nil
}

// names reads format, floor and hint.
func (a *audit) names(ctx context.Context) error {
	object, err := a.read(ctx, layout.FormatKey, objstore.Range{})
	if err != nil {
		return err
	}
	if a.format, err = layout.DecodeFormat(object); err != nil {
		return inObject(layout.FormatKey, err)
	}
	a.st = newState(a.format.Database)
	a.floor, _, err = a.readFloor(ctx, a.st.database)
	err = a.wrong(Error, layout.FloorKey, err, "no server can start; it can be written anew by who knows the newest checkpoint")
	if err != nil {
		return err
	}
	a.hint.Checkpoint, err = a.Engine.hint(ctx, a.st.database)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil // there is none at first, and it may be missing
	}
	return a.wrong(Warning, layout.HintKey, err, "a start takes longer, until the next checkpoint writes it anew")
}

// start makes the state of the newest checkpoint that can be read, with its index if
// that is asked for.
func (a *audit) start(ctx context.Context, withIndex bool) error {
	tried := make(map[string]bool)
	for _, key := range a.candidates() {
		if key == "" || tried[key] {
			continue
		}
		tried[key] = true
		c, err := a.checkpointAt(ctx, key)
		if err == nil {
			a.base = key
			return a.fill(ctx, c, withIndex)
		}
		if key != a.floor.Checkpoint && key != a.hint.Checkpoint {
			continue // an old one that nobody needs
		}
		if errors.Is(err, objstore.ErrNotExist) && !a.final {
			return errBehind
		}
		a.foul = true
		if err := a.wrong(Error, key, err, "a server cannot start from it"); err != nil {
			return err
		}
	}
	if a.floor.Slot > 1 {
		a.foul, a.noIndex = true, true
		a.st.slot = a.floor.Slot - 1
		a.say(Error, layout.CheckpointPrefix, "no checkpoint can be read", "no server can start: the log before slot "+fmt.Sprint(a.floor.Slot)+" is gone")
	}
	return nil
}

// candidates returns the checkpoints from which one might begin, the best one first.
func (a *audit) candidates() []string {
	best := []string{a.hint.Checkpoint, a.floor.Checkpoint}
	slices.SortFunc(best, func(x, y string) int { return strings.Compare(y, x) })
	var others []string
	for key := range a.list {
		if slot, ok := layout.CheckpointSlot(key); ok && slot+1 >= a.floor.Slot {
			others = append(others, key)
		}
	}
	slices.SortFunc(others, func(x, y string) int { return strings.Compare(y, x) })
	if a.hint.Checkpoint == "" {
		return append(others, best...)
	}
	return append(best, others...)
}

func (a *audit) checkpointAt(ctx context.Context, key string) (*layout.Checkpoint, error) {
	object, err := a.read(ctx, key, objstore.Range{})
	if err != nil {
		return nil, err
	}
	c, err := layout.DecodeCheckpoint(object)
	switch slot, _ := layout.CheckpointSlot(key); {
	case err != nil:
	case c.Database != a.st.database:
		err = errors.New("it is another database's")
	case c.Slot != slot || layout.CheckpointKey(c.Slot, c.ID) != key:
		err = errors.New("it is the one of another key")
	}
	return c, inObject(key, err)
}

// fill makes the state of a checkpoint. With a run that cannot be read there is no index.
func (a *audit) fill(ctx context.Context, c *layout.Checkpoint, withIndex bool) error {
	numbers := a.st.fill(c)
	a.noIndex = !withIndex
	var sources []*runSource
	for _, info := range c.Runs {
		a.st.runs = append(a.st.runs, run{RunInfo: info})
		if !withIndex {
			continue
		}
		s, err := a.openRun(ctx, a.st.database, info, numbers)
		if errors.Is(err, objstore.ErrNotExist) && !a.final {
			return errBehind
		}
		if err != nil {
			a.noIndex = true
			if err := a.wrong(Error, layout.RunKey(info.ID), unwrapBehind(err), "no server can start from "+a.base+", which names it; no transaction is lost"); err != nil {
				return err
			}
			continue
		}
		sources = append(sources, s)
	}
	if a.noIndex {
		return nil
	}
	for _, s := range sources {
		for _, b := range s.run.Blobs {
			a.st.blobs[blobs.ID{OID: b.OID, TID: b.TID}] = b.Blob
		}
	}
	if err := mergeRuns(sources, &a.st.index); err != nil {
		a.noIndex = true
		c, _ := errors.AsType[*zodb.CorruptError](err)
		return a.wrong(Error, c.File, err, "no server can start from "+a.base)
	}
	return nil
}

// unwrapBehind returns that an object is missing as such.
func unwrapBehind(err error) error {
	if errors.Is(err, objstore.ErrNotExist) {
		return objstore.ErrNotExist
	}
	return err
}
