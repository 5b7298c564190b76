package transfer

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/zaridb/zari/zodb"
)

// VerifyOptions say what to compare. The zero value compares everything.
type VerifyOptions struct {
	From, To     zodb.TID // as in Options
	WithoutBlobs bool     // compare no blobs
	NoHistory    bool     // the destination keeps none: the current revisions are compared, of the source those at To
	Most         int      // how many differences are kept; default 20
	Progress     func(Progress)
}

// Verification is the outcome of a Verify.
type Verification struct {
	Transactions, Records, Blobs int64 // compared
	Bytes                        int64

	Count       int64        // of all differences
	Differences []Difference // the first of them
}

// Equal reports whether there were no differences.
func (v *Verification) Equal() bool { return v.Count == 0 }

// Verify compares the histories of two storages in both directions: transactions
// and what they say of themselves, records, deletions, undo records, and the
// contents of blobs. Differences are no error.
func Verify(ctx context.Context, dst, src zodb.Storage, o VerifyOptions) (*Verification, error) {
	if o.Most == 0 {
		o.Most = 20
	}
	v := &verifier{dst: dst, src: src, opts: o, result: new(Verification)}
	v.progress.Total = src.Info().Size
	if o.NoHistory {
		return v.result, v.runCurrent(ctx)
	}
	theirs, err := v.transactions(ctx, "the source", src)
	if err != nil {
		return nil, err
	}
	ours, err := v.transactions(ctx, "the destination", dst)
	if err != nil {
		return nil, err
	}
	return v.result, v.run(ctx, theirs, ours)
}

// verifier is one Verify.
type verifier struct {
	dst, src zodb.Storage
	opts     VerifyOptions
	result   *Verification
	progress Progress
	files    fileComparer
}

// transactions reads ahead of the comparison.
func (v *verifier) transactions(ctx context.Context, role string, s zodb.Storage) (iter.Seq2[*zodb.Transaction, error], error) {
	it, ok := zodb.As[zodb.Iterator](s)
	if !ok {
		return nil, fmt.Errorf("%s cannot list its transactions: %w", named(role, s), errors.ErrUnsupported)
	}
	return ahead(ctx, it.Transactions(ctx, v.opts.From, v.opts.To)), nil
}

func (v *verifier) run(ctx context.Context, theirs, ours iter.Seq2[*zodb.Transaction, error]) error {
	nextDst, stopDst := iter.Pull2(ours)
	defer stopDst()
	dst, dstErr, more := nextDst()
	for src, err := range theirs {
		if err != nil {
			return fmt.Errorf("reading from %s: %w", named("the source", v.src), err)
		}
		for ; more && dstErr == nil && dst.TID < src.TID; dst, dstErr, more = nextDst() {
			v.report(Difference{TID: dst.TID, Kind: OnlyInDestination})
		}
		if dstErr != nil {
			return fmt.Errorf("reading from %s: %w", named("the destination", v.dst), dstErr)
		}
		if !more || dst.TID > src.TID {
			v.report(Difference{TID: src.TID, Kind: OnlyInSource})
			v.compared(src)
			continue
		}
		if err := v.compare(ctx, src, dst); err != nil {
			return err
		}
		v.compared(src)
		dst, dstErr, more = nextDst()
	}
	for ; more; dst, dstErr, more = nextDst() {
		if dstErr != nil {
			return fmt.Errorf("reading from %s: %w", named("the destination", v.dst), dstErr)
		}
		v.report(Difference{TID: dst.TID, Kind: OnlyInDestination})
	}
	return nil
}

func (v *verifier) report(d Difference) {
	v.result.Count++
	if len(v.result.Differences) < v.opts.Most {
		v.result.Differences = append(v.result.Differences, d)
	}
}

func (v *verifier) compared(src *zodb.Transaction) {
	r, p := v.result, &v.progress
	r.Transactions++
	r.Records += int64(len(src.Records))
	data := int64(0)
	for i := range src.Records {
		data += int64(len(src.Records[i].Data))
	}
	r.Bytes += data
	p.Done += max(src.Size, data)
	if v.opts.Progress != nil {
		p.TID, p.Transactions, p.Records, p.Blobs, p.Bytes = src.TID, r.Transactions, r.Records, r.Blobs, r.Bytes
		v.opts.Progress(*p)
	}
}

func (v *verifier) compare(ctx context.Context, src, dst *zodb.Transaction) error {
	compareHeads(src, dst, v.report)
	var blobs []zodb.OID
	compareRecords(src, dst, v.reportRecord, func(oid zodb.OID) { blobs = append(blobs, oid) })
	if v.opts.WithoutBlobs {
		return nil
	}
	for _, oid := range blobs {
		if err := v.compareBlob(ctx, src.TID, oid); err != nil {
			return fmt.Errorf("blob of object %v of transaction %v: %w", oid, src.TID, err)
		}
	}
	return nil
}

func (v *verifier) reportRecord(d Difference) {
	if d.Kind != OtherBlob || !v.opts.WithoutBlobs {
		v.report(d)
	}
}

func (v *verifier) compareBlob(ctx context.Context, tid zodb.TID, oid zodb.OID) error {
	var paths [2]string
	for i, s := range []zodb.Storage{v.src, v.dst} {
		blobs, ok := zodb.As[zodb.BlobStore](s)
		if !ok {
			return errors.ErrUnsupported
		}
		var err error
		if paths[i], err = blobs.LoadBlob(ctx, oid, tid); err != nil {
			return err
		}
	}
	at, size, err := v.files.firstDifference(ctx, paths[0], paths[1])
	if err != nil {
		return err
	}
	v.result.Blobs++
	v.result.Bytes += size
	if at >= 0 {
		v.report(Difference{TID: tid, OID: oid, Object: true, Kind: OtherBlob, Detail: fmt.Sprintf("the files differ from byte %d on", at)})
	}
	return nil
}
