package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/zaridb/zari/zodb"
)

var _ worker = (*filler)(nil)

// A filler makes its share of the objects, in large transactions.
type filler struct {
	base
	data     []byte
	from, to zodb.OID // to is the first of the next filler
	made     uint64   // objects
}

func newFiller(b base) worker {
	n, of := uint64(b.n), uint64(b.o.Connections)
	share := func(i uint64) zodb.OID { return b.o.FirstOID + zodb.OID(uint64(b.o.Objects)*i/of) }
	return &filler{base: b, from: share(n), to: share(n + 1)}
}

func (w *filler) prepare() error {
	w.data = Record(w.o.Size, w.o.Seed)
	return nil
}

func (w *filler) run() error {
	for from := w.from; from < w.to; {
		to := min(w.to, from+zodb.OID(w.o.Batch))
		if err := w.fill(from, to); err != nil {
			return err
		}
		from = to
	}
	return nil
}

func (w *filler) fill(from, to zodb.OID) error {
	began := time.Now()
	oids := make([]zodb.OID, 0, to-from)
	for oid := from; oid < to; oid++ {
		oids = append(oids, oid)
	}
	if _, err := w.c.storeNew(oids, w.data); err != nil {
		return fmt.Errorf("objects %v to %v (is there a database already?): %w", from, to-1, err)
	}
	w.made += uint64(len(oids))
	w.ok(opCommit, began)
	return nil
}

// runFill fills and counts objects as well as transactions.
func runFill(ctx context.Context, o *Options) (*Result, error) {
	r := newRun(o)
	res := newResult(Fill, o)
	if err := r.connect(ctx, o.Connections, false, newFiller); err != nil {
		return nil, err
	}
	r.measure(ctx, 0, 0)
	t := r.total()
	r.report(res, t)
	var made uint64
	for _, w := range r.workers {
		made += w.(*filler).made
	}
	objects := r.newMeasure("object", &Histogram{n: made})
	res.Measures = append(res.Measures, objects)
	return res, nil
}
