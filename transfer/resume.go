package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// checkedTail is how many of the destination's last transactions are compared.
const checkedTail = 10

// HistoryError says that the destination is not a beginning of the source.
type HistoryError struct {
	TID    zodb.TID // of the destination's transaction that does not fit
	Reason string
}

func (e *HistoryError) Error() string {
	return fmt.Sprintf("the destination holds another history than the source: its transaction %v %s", e.TID, e.Reason)
}

// resume finds out where to go on. The destination's last transactions must be
// those of the source.
func (c *copier) resume(ctx context.Context) error {
	last := c.dst.LastTID()
	c.result.Resumed = last
	if last == 0 {
		return nil
	}
	if newest := c.src.LastTID(); last > newest {
		return &HistoryError{last, fmt.Sprintf("is newer than all of the source, which ends at %v", newest)}
	}
	have, ok := zodb.As[zodb.Iterator](c.dst)
	if !ok {
		return fmt.Errorf("%s is not empty, and cannot list its transactions to compare them: %w", named("the destination", c.dst), errors.ErrUnsupported)
	}
	theirs, stop := iter.Pull2(c.from.Backward(ctx, last))
	defer stop()
	n := 0
	for mine, err := range have.Backward(ctx, last) {
		if err != nil {
			return fmt.Errorf("reading from %s: %w", named("the destination", c.dst), err)
		}
		more, err := c.compareTail(mine, theirs)
		if err != nil {
			return err
		}
		if n++; !more || n == checkedTail {
			break
		}
	}
	c.start = max(c.start, last+1)
	c.progress.Done = c.dst.Info().Size
	return nil
}

// compareTail compares a transaction of the destination with the next one of the
// source, newest first, and reports whether there is sense in comparing those before.
func (c *copier) compareTail(mine *zodb.Transaction, theirs func() (*zodb.Transaction, error, bool)) (more bool, err error) {
	if c.opts.NoHistory {
		t, err := before(theirs, mine.TID)
		if err != nil {
			return false, fmt.Errorf("reading from %s: %w", named("the source", c.src), err)
		}
		return true, sameCurrent(mine, t)
	}
	t, err, ok := theirs()
	if err != nil {
		return false, fmt.Errorf("reading from %s: %w", named("the source", c.src), err)
	}
	return sameTail(mine, t, ok)
}

// sameTail compares a transaction of the destination with the one that the source
// has in its place. It reports whether there is sense in comparing those before:
// a pack of the source may have taken anything from there.
func sameTail(mine, theirs *zodb.Transaction, ok bool) (more bool, err error) {
	if !ok || theirs.TID != mine.TID {
		return false, &HistoryError{mine.TID, "is not in the source (or was packed away there since)"}
	}
	if theirs.Status == 'p' {
		return false, isPartOf(theirs, mine)
	}
	if kind := headDifference(theirs, mine); kind != "" {
		return false, &HistoryError{mine.TID, "has another " + string(kind) + " in the source"}
	}
	if n, m := len(byOID(mine)), len(byOID(theirs)); n != m {
		return false, &HistoryError{mine.TID, fmt.Sprintf("changed %d objects, and %d in the source", n, m)}
	}
	return true, isPartOf(theirs, mine)
}

// headDifference returns the first difference of two heads that makes them those of
// different transactions, "" if there is none. Extensions are compared by what they
// say: ZEO carries the dict, and not the bytes that it was read from.
func headDifference(theirs, mine *zodb.Transaction) (kind Kind) {
	compareHeads(theirs, mine, func(d Difference) {
		if kind == "" && (d.Kind != OtherExtension || !sameDict(theirs.Extension, mine.Extension)) {
			kind = d.Kind
		}
	})
	return kind
}

// sameDict reports whether two pickles are of the same dict, in the same order.
func sameDict(a, b []byte) bool {
	one, err1 := pickle.DecodeDict(a)
	two, err2 := pickle.DecodeDict(b)
	if err1 != nil || err2 != nil {
		return false
	}
	x, err1 := pickle.Encode(one)
	y, err2 := pickle.Encode(two)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// isPartOf checks that the records of the source's transaction are among those of
// the destination's.
func isPartOf(theirs, mine *zodb.Transaction) error {
	records := byOID(mine)
	for i := range theirs.Records {
		r := &theirs.Records[i]
		have, ok := records[r.OID]
		if !ok {
			return &HistoryError{mine.TID, fmt.Sprintf("has no record of object %v, and has one in the source", r.OID)}
		}
		if !sameData(have.Data, r.Data) {
			return &HistoryError{mine.TID, fmt.Sprintf("has other data of object %v in the source", r.OID)}
		}
	}
	return nil
}

// byOID is the transaction's records by their oid. Of several for one object, as
// there may be in old files, the last one counts.
func byOID(t *zodb.Transaction) map[zodb.OID]*zodb.TxnRecord {
	records := make(map[zodb.OID]*zodb.TxnRecord, len(t.Records))
	for i := range t.Records {
		records[t.Records[i].OID] = &t.Records[i]
	}
	return records
}
