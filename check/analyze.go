package check

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/zaridb/zari/zodb"
)

// Amount is how much of something there is. Bytes are those of the records' data.
type Amount struct {
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`
}

func (a *Amount) add(bytes int64) { a.Records++; a.Bytes += bytes }

// ClassAmount is what a class takes: its objects as they are now, and revisions that
// a pack would drop.
type ClassAmount struct {
	Class   string `json:"class"`
	Current Amount `json:"current"`
	Old     Amount `json:"old"`
}

// Period is what was written in a day, month or year.
type Period struct {
	Name         string `json:"period"` // as 2026-11-25, 2026-11 or 2026, in UTC
	Transactions int64  `json:"transactions"`
	Records      int64  `json:"records"`
	Bytes        int64  `json:"bytes"` // in the medium
	New          int64  `json:"new_objects"`
}

// Large is one of the largest objects.
type Large struct {
	Object
	Bytes int64 `json:"bytes"`
}

// Analysis says what is in a storage.
type Analysis struct {
	Transactions int64         `json:"transactions"`
	Bytes        int64         `json:"bytes"` // of the transactions in the medium
	Current      Amount        `json:"current"`
	Old          Amount        `json:"old"`     // revisions that were replaced or deleted
	Deleted      int64         `json:"deleted"` // objects
	First        time.Time     `json:"first"`
	Last         time.Time     `json:"last"`
	Classes      []ClassAmount `json:"classes"` // the one with most bytes first
	Growth       []Period      `json:"growth"`
	Largest      []Large       `json:"largest"`
}

// Layouts of periods.
const (
	ByDay   = "2006-01-02"
	ByMonth = "2006-01"
	ByYear  = "2006"
)

// AnalyzeOptions say what is wanted.
type AnalyzeOptions struct {
	Period  string // ByDay, ByMonth or ByYear
	Largest int    // how many of the largest objects
	Report  *Report
}

// analyzer goes over all transactions once. It remembers the class and the size of
// each object's newest revision.
type analyzer struct {
	out     Analysis
	classes classNames
	amounts map[uint32]*ClassAmount
	newest  *table[uint64] // class << 32 | size
	period  string
}

// Analyze reads all transactions of a storage. It keeps eight bytes for an object.
func Analyze(ctx context.Context, s zodb.Storage, o AnalyzeOptions) (*Analysis, error) {
	it, ok := zodb.As[zodb.Iterator](s)
	if !ok {
		return nil, errors.New("this storage cannot list its transactions")
	}
	a := &analyzer{amounts: make(map[uint32]*ClassAmount), newest: newTable[uint64](), period: cmp.Or(o.Period, ByDay)}
	a.classes.numbers = make(map[string]uint32)
	total := s.Info().Size
	for t, err := range it.Transactions(ctx, 0, 0) {
		if err != nil {
			return nil, err
		}
		a.transaction(t)
		if a.out.Transactions%256 == 0 {
			o.Report.progress("reading", a.out.Bytes, max(total, a.out.Bytes))
		}
	}
	a.finish(o.Largest)
	return &a.out, nil
}

func (a *analyzer) transaction(t *zodb.Transaction) {
	when := t.TID.Time()
	if a.out.Transactions == 0 {
		a.out.First = when
	}
	a.out.Last = when
	a.out.Transactions++
	a.out.Bytes += t.Size
	name := when.Format(a.period)
	if n := len(a.out.Growth); n == 0 || a.out.Growth[n-1].Name != name {
		a.out.Growth = append(a.out.Growth, Period{Name: name})
	}
	p := &a.out.Growth[len(a.out.Growth)-1]
	p.Transactions++
	p.Bytes += t.Size
	for i := range t.Records {
		p.Records++
		if a.record(&t.Records[i]) {
			p.New++
		}
	}
}

// record reports whether the object is new.
func (a *analyzer) record(r *zodb.TxnRecord) bool {
	if r.Data == nil {
		if old := a.newest.set(r.OID, 0); old != 0 {
			a.replaced(old)
			a.out.Deleted++
		}
		return false
	}
	class := uint32(unknownClass)
	if plain, err := Plain(r.Data); err == nil {
		class = a.classes.of(plain)
	}
	old := a.newest.set(r.OID, uint64(class)<<32|uint64(uint32(len(r.Data))))
	if old != 0 {
		a.replaced(old)
	}
	return old == 0
}

// replaced counts a revision that is no longer the newest.
func (a *analyzer) replaced(v uint64) {
	a.amount(v).Old.add(int64(uint32(v)))
	a.out.Old.add(int64(uint32(v)))
}

func (a *analyzer) amount(v uint64) *ClassAmount {
	class := uint32(v >> 32)
	c := a.amounts[class]
	if c == nil {
		c = &ClassAmount{Class: cmp.Or(className(a.classes.name(class)), "(unreadable)")}
		a.amounts[class] = c
	}
	return c
}

func (a *analyzer) finish(largest int) {
	a.newest.each(func(oid zodb.OID, v uint64) bool {
		size := int64(uint32(v))
		c := a.amount(v)
		c.Current.add(size)
		a.out.Current.add(size)
		a.large(largest, Large{Object{OID: oid.String(), Class: c.Class}, size})
		return true
	})
	a.out.Classes = []ClassAmount{}
	for _, c := range a.amounts {
		a.out.Classes = append(a.out.Classes, *c)
	}
	slices.SortFunc(a.out.Classes, func(a, b ClassAmount) int {
		return cmp.Or(cmp.Compare(b.Current.Bytes+b.Old.Bytes, a.Current.Bytes+a.Old.Bytes), cmp.Compare(a.Class, b.Class))
	})
}

// large enters an object among the n largest, if it is one of them.
func (a *analyzer) large(n int, l Large) {
	list := a.out.Largest
	if n == 0 || (len(list) == n && l.Bytes <= list[n-1].Bytes) {
		return
	}
	i, _ := slices.BinarySearchFunc(list, l.Bytes, func(l Large, bytes int64) int {
		if l.Bytes >= bytes {
			return -1
		}
		return 1
	})
	list = slices.Insert(list, i, l)
	a.out.Largest = list[:min(n, len(list))]
}
