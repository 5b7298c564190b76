package transfer

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/zaridb/zari/zodb"
)

// This file is about destinations that keep no history: see [Options.NoHistory].

// sameCurrent compares a transaction of a destination without history with the one
// of the source: what the destination still has of it is the source's.
func sameCurrent(mine, theirs *zodb.Transaction) error {
	if theirs == nil || theirs.TID != mine.TID {
		return &HistoryError{mine.TID, "is not in the source (or was packed away there since)"}
	}
	records := byOID(theirs)
	for i := range mine.Records {
		r := &mine.Records[i]
		have, ok := records[r.OID]
		if !ok {
			return &HistoryError{mine.TID, fmt.Sprintf("has a record of object %v, and none in the source", r.OID)}
		}
		if !sameData(r.Data, have.Data) {
			return &HistoryError{mine.TID, fmt.Sprintf("has other data of object %v in the source", r.OID)}
		}
	}
	return nil
}

// before returns the last transaction up to tid from those that next yields, newest
// first; nil if there is none.
func before(next func() (*zodb.Transaction, error, bool), tid zodb.TID) (*zodb.Transaction, error) {
	for {
		t, err, ok := next()
		if err != nil || !ok {
			return nil, err
		}
		if t.TID <= tid {
			return t, nil
		}
	}
}

// runCurrent compares the current revisions of all objects.
func (v *verifier) runCurrent(ctx context.Context) error {
	theirs, err := State{v.src, v.opts.To}.current(ctx)
	if err != nil {
		return err
	}
	ours, err := State{v.dst, 0}.current(ctx)
	if err != nil {
		return err
	}
	next, stop := iter.Pull2(ours)
	defer stop()
	have, haveErr, more := next()
	for want, err := range theirs {
		if err != nil {
			return fmt.Errorf("reading from %s: %w", named("the source", v.src), err)
		}
		for ; more && haveErr == nil && have.OID < want.OID; have, haveErr, more = next() {
			v.report(Difference{TID: have.Serial, OID: have.OID, Object: true, Kind: OnlyInDestination})
		}
		if haveErr != nil {
			return fmt.Errorf("reading from %s: %w", named("the destination", v.dst), haveErr)
		}
		if !more || have.OID > want.OID {
			v.report(Difference{TID: want.Serial, OID: want.OID, Object: true, Kind: OnlyInSource})
			continue
		}
		if err := v.compareCurrent(ctx, want, have); err != nil {
			return err
		}
		have, haveErr, more = next()
	}
	for ; more; have, haveErr, more = next() {
		if haveErr != nil {
			return fmt.Errorf("reading from %s: %w", named("the destination", v.dst), haveErr)
		}
		v.report(Difference{TID: have.Serial, OID: have.OID, Object: true, Kind: OnlyInDestination})
	}
	return nil
}

func (v *verifier) compareCurrent(ctx context.Context, want, have zodb.Current) error {
	v.comparedObject(want)
	switch {
	case want.Serial != have.Serial:
		v.report(Difference{TID: want.Serial, OID: want.OID, Object: true, Kind: OtherData, Detail: fmt.Sprintf("the copy is of transaction %v", have.Serial)})
		return nil
	case !bytes.Equal(want.Data, have.Data):
		v.report(Difference{
			TID: want.Serial, OID: want.OID, Object: true, Kind: OtherData,
			Detail: fmt.Sprintf("%d bytes and %d bytes", len(want.Data), len(have.Data)),
		})
		return nil
	case v.opts.WithoutBlobs || !isBlob(want.Data):
		return nil
	}
	if err := v.compareBlob(ctx, want.Serial, want.OID); err != nil {
		return fmt.Errorf("blob of object %v of transaction %v: %w", want.OID, want.Serial, err)
	}
	return nil
}

func (v *verifier) comparedObject(c zodb.Current) {
	r, p := v.result, &v.progress
	r.Records++
	r.Bytes += int64(len(c.Data))
	p.Done += int64(len(c.Data))
	if v.opts.Progress != nil && r.Records%1000 == 0 {
		p.TID, p.Records, p.Blobs, p.Bytes = c.Serial, r.Records, r.Blobs, r.Bytes
		v.opts.Progress(*p)
	}
}
