package s3storage

import (
	"context"
	"errors"
	"time"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/zodb"
)

// Amount is how much there is of something.
type Amount struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

func (a *Amount) add(bytes int64) { a.Objects++; a.Bytes += bytes }

// Status is what is in a bucket.
type Status struct {
	Database string    `json:"database"`
	Created  time.Time `json:"created"`

	Transactions int64     `json:"transactions"`
	TID          zodb.TID  `json:"-"` // the last one
	PackedTo     zodb.TID  `json:"-"`
	Slot         uint64    `json:"slot"`  // the last one of the log
	Floor        uint64    `json:"floor"` // older slots are gone, or are being deleted
	Epoch        uint64    `json:"epoch"`
	Checkpoint   string    `json:"checkpoint"`
	CheckpointAt time.Time `json:"checkpoint_at"`
	Lease        *Holder   `json:"lease,omitempty"`
	Front        *Front    `json:"front,omitempty"` // where the log goes on; nil: in the bucket

	Log         Amount `json:"log"`
	Segments    Amount `json:"segments"`
	Runs        Amount `json:"index_runs"`
	Checkpoints Amount `json:"checkpoints"`
	Blobs       Amount `json:"blobs"`
	Garbage     Amount `json:"garbage"`      // to be deleted once it is old
	Pinned      Amount `json:"for_branches"` // what only branches need
	Unnamed     Amount `json:"unnamed"`      // what nothing names; new, or to be swept up
	Foreign     Amount `json:"foreign"`      // what does not belong to a database
	Other       Amount `json:"other"`        // objects of which there is one
	Total       Amount `json:"total"`

	BranchOf []Relation `json:"branch_of,omitempty"`
	Branches []Relation `json:"branches,omitempty"`
}

// Holder is who writes, as far as the lease tells.
type Holder struct {
	Writer  string    `json:"writer"`
	Renewed time.Time `json:"renewed"` // by the store's clock
	Until   time.Time `json:"until"`   // likewise; what was given up has ended when it was
	Lasts   float64   `json:"lasts_seconds"`
}

// Front is the log in which commits are before they are moved to the bucket. What has not been
// moved is in nothing that is said of the bucket.
type Front struct {
	Kind  string `json:"kind"` // postgres or local
	Where string `json:"where"`
	ID    string `json:"id"`
}

// Relation is a database that shares objects with this one.
type Relation struct {
	Database string    `json:"database"`
	URL      string    `json:"url"`
	Since    time.Time `json:"since"`
	Segments int       `json:"segments"`
	Blobs    int       `json:"blobs"`
}

// Inspect says what is in a bucket. It lists it, and reads the newest checkpoint and what
// has come in the log since, but neither index nor transactions.
func Inspect(ctx context.Context, opts Options) (Status, error) {
	a := newAudit(opts)
	defer a.Close()
	var bad error // what damage there is
	a.found = func(p Problem) {
		if bad == nil && p.Severity == Error {
			bad = &zodb.CorruptError{File: p.Key, Record: "object", Err: errors.New(p.What)}
		}
	}
	s := &Status{}
	err := a.openShared(ctx)
	if err == nil {
		err = a.begin(ctx, a.look)
	}
	if err == nil {
		err = a.holder(ctx, s)
	}
	if err == nil {
		err = a.relations(ctx, s)
	}
	if err == nil {
		err = bad
	}
	if err != nil {
		return *s, err
	}
	a.describe(s)
	return *s, nil
}

// look makes the state without an index.
func (a *audit) look(ctx context.Context) error {
	if err := a.names(ctx); err != nil {
		return err
	}
	if err := a.listAll(ctx); err != nil {
		return err
	}
	if err := a.start(ctx, false); err != nil {
		return err
	}
	return a.walk(ctx, max(a.st.slot, 1))
}

func (a *audit) holder(ctx context.Context, s *Status) error {
	object, info, err := objstore.Read(ctx, a.objects, layout.LeaseKey, objstore.Range{})
	if errors.Is(err, objstore.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := layout.DecodeLease(object)
	if err != nil {
		return nil // the next server writes it anew
	}
	lasts := time.Duration(l.Millis) * time.Millisecond
	s.Lease = &Holder{Writer: l.Writer, Renewed: info.Modified, Until: info.Modified.Add(lasts), Lasts: lasts.Seconds()}
	return nil
}

func (a *audit) relations(ctx context.Context, s *Status) error {
	if a.sharing != nil {
		for _, o := range a.sharing.owners {
			s.BranchOf = append(s.BranchOf, relation(o.Share, o.Owner, o.OwnerURL))
		}
	}
	if _, err := a.pinned(ctx); err != nil {
		return err
	}
	for id, p := range a.pins {
		s.Branches = append(s.Branches, relation(p, id, p.BranchURL))
	}
	return nil
}

func relation(s *layout.Share, id layout.ID, url string) Relation {
	return Relation{id.String(), url, time.Unix(s.Created, 0).UTC(), len(s.Segments), len(s.Blobs)}
}

// describe fills in what follows from the state and the list.
func (a *audit) describe(s *Status) {
	st := a.st
	s.Database, s.Created = st.database.String(), time.Unix(a.format.Created, 0).UTC()
	s.TID, s.PackedTo, s.Slot, s.Epoch, s.Floor = st.last, st.packedTo, st.slot, st.epoch, max(a.floor.Slot, 1)
	s.Checkpoint, s.CheckpointAt = a.base, a.list[a.base].Modified
	for _, p := range st.order {
		s.Transactions += int64(p.txns)
	}
	if f := st.front; f.Kind != layout.InBucket {
		s.Front = &Front{Kind: f.Kind.String(), Where: f.Where, ID: f.ID.String()}
	}
	known := a.known()
	garbage := make(map[string]bool)
	for _, g := range st.garbage {
		garbage[g.Key] = true
	}
	for _, key := range st.collecting.Keys {
		garbage[key] = true
	}
	for key, info := range a.list {
		s.Total.add(info.Size)
		a.amount(s, key, known[key], garbage[key]).add(info.Size)
	}
}

// amount returns where an object counts.
func (a *audit) amount(s *Status, key string, known, garbage bool) *Amount {
	kind := kindOf(key)
	needed := pins(nil)
	for _, p := range a.pins {
		needed = append(needed, p)
	}
	slot, _ := slotOfKey(key)
	switch {
	case kind == "":
		return &s.Foreign
	case kind == key, kind == layout.PinPrefix, kind == layout.SharedPrefix:
		return &s.Other
	case garbage && needed.has(key), !known && needed.has(key) && kind == layout.SegmentPrefix:
		return &s.Pinned
	case garbage, kind == layout.LogPrefix && !known && slot < a.movedTo():
		return &s.Garbage
	case kind == layout.LogPrefix:
		return &s.Log
	case kind == layout.BlobPrefix:
		return &s.Blobs // which ones are named only the index knows
	case !known && (kind == layout.RunPrefix || kind == layout.CheckpointPrefix):
		return &s.Garbage
	case !known:
		return &s.Unnamed
	case kind == layout.SegmentPrefix:
		return &s.Segments
	case kind == layout.RunPrefix:
		return &s.Runs
	}
	return &s.Checkpoints
}

// movedTo returns the slot before which no log object holds transactions any more.
func (a *audit) movedTo() uint64 {
	slot := a.floor.Slot
	for _, r := range a.st.replaced {
		slot = max(slot, r.UpTo)
	}
	return slot
}

// Day is what was committed on one day, in UTC.
type Day struct {
	Day     string `json:"day"`
	Commits int64  `json:"commits"`
	Minutes int64  `json:"minutes"` // in which there was one
	Bytes   int64  `json:"bytes"`
}

// History is what was committed in some time, as far as it has not been packed away.
type History struct {
	Days          []Day   `json:"days"`
	PutsPerCommit float64 `json:"puts_per_commit"` // in what the log still has; 1 if that is not known
	Logs          int     `json:"log_objects"`     // that this was found from
	Lease         float64 `json:"lease_seconds"`   // of the last server; 0: none
	Stored        int64   `json:"stored_bytes"`
}

// Commits says what was committed from a moment on, by the transactions' tids.
func Commits(ctx context.Context, opts Options, since zodb.TID) (History, error) {
	a := newAudit(opts)
	defer a.Close()
	if err := a.openShared(ctx); err != nil {
		return History{}, err
	}
	if err := a.begin(ctx, a.look); err != nil {
		return History{}, err
	}
	s := Status{}
	if err := a.holder(ctx, &s); err != nil {
		return History{}, err
	}
	h := History{PutsPerCommit: 1}
	if s.Lease != nil {
		h.Lease = s.Lease.Lasts
	}
	for _, info := range a.list {
		h.Stored += info.Size
	}
	return h, a.commits(ctx, since, &h)
}

func (a *audit) commits(ctx context.Context, since zodb.TID, h *History) error {
	inLog, minute := 0, ""
	for i, p := range a.st.order {
		if p.Slot != 0 {
			h.Logs++
			inLog += p.txns
		}
		if p.last < since {
			continue
		}
		t, err := a.tableOf(ctx, p)
		if err != nil {
			return err
		}
		for j := range t.Txns {
			x := &t.Txns[j]
			if x.TID < since {
				continue
			}
			now := x.TID.Time().UTC().Format("2006-01-02 15:04")
			h.note(now[:10], now != minute, int64(x.Len()))
			minute = now
		}
		a.progress("transactions", int64(i+1), int64(len(a.st.order)))
	}
	if h.Logs > 0 {
		h.PutsPerCommit = float64(h.Logs) / float64(inLog)
	}
	return nil
}

// note counts a commit.
func (h *History) note(day string, newMinute bool, bytes int64) {
	if n := len(h.Days); n == 0 || h.Days[n-1].Day != day {
		h.Days = append(h.Days, Day{Day: day})
	}
	d := &h.Days[len(h.Days)-1]
	d.Commits++
	d.Bytes += bytes
	if newMinute {
		d.Minutes++
	}
}
