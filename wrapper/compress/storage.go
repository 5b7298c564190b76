package compress

import (
	"context"
	"fmt"
	"iter"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/compressed"
)

// defaultMaxRecord is what one message of a client can carry.
const defaultMaxRecord = 256 << 20

// Options are the settings of a wrapper. The zero value compresses.
type Options struct {
	// Keep writes records as they are given. Compressed ones are still read.
	Keep bool

	// MaxRecord bounds the bytes of a decompressed record. Default 256 MiB.
	// Larger ones are not compressed.
	MaxRecord int
}

// Storage compresses what passes on its way down.
type Storage struct {
	zodb.Storage
	form form
}

var (
	_ zodb.Storage = (*Storage)(nil)
	_ zodb.Asser   = (*Storage)(nil)
)

// New wraps a storage, which the wrapper owns from now on.
func New(base zodb.Storage, o Options) *Storage {
	if o.MaxRecord == 0 {
		o.MaxRecord = defaultMaxRecord
	}
	return &Storage{base, form{keep: o.Keep, limit: o.MaxRecord}}
}

// form is how records are kept.
type form struct {
	keep  bool
	limit int
}

// write returns a record in the form in which it is kept. One that comes
// compressed, from a client that does so itself, stays as it is; but it must be
// one that can be read again.
func (f form) write(oid zodb.OID, data []byte) ([]byte, error) {
	if compressed.Is(data) {
		if err := compressed.View(data, f.limit, func([]byte) error { return nil }); err != nil {
			return nil, fmt.Errorf("object %v: %w", oid, err)
		}
		return data, nil
	}
	if f.keep || len(data) > f.limit {
		return data, nil
	}
	return compressed.Write(data), nil
}

// read returns the record proper of one that is kept.
func (f form) read(oid zodb.OID, serial zodb.TID, data []byte) ([]byte, error) {
	plain, err := compressed.Read(data, f.limit)
	if err != nil {
		return nil, fmt.Errorf("object %v of transaction %v: %w", oid, serial, err)
	}
	return plain, nil
}

// LoadBefore implements zodb.Storage.
func (s *Storage) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	rec, err := s.Storage.LoadBefore(ctx, oid, tid)
	if err != nil {
		return zodb.Record{}, err
	}
	if rec.Data, err = s.form.read(oid, rec.Serial, rec.Data); err != nil {
		return zodb.Record{}, err
	}
	return rec, nil
}

// Begin implements zodb.Storage.
func (s *Storage) Begin(ctx context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	t, err := s.Storage.Begin(ctx, meta)
	if err != nil {
		return nil, err
	}
	return &txn{t, s.form}, nil
}

// As passes on what is not about records, and adapts what is.
func (s *Storage) As(target any) bool {
	switch p := target.(type) {
	case *zodb.Watcher, *zodb.Syncer, *zodb.Undoer, *zodb.Packer, *zodb.BlobStore,
		*zodb.Restorer, *zodb.Deleter, *zodb.Prefetcher, *zodb.Outcomer:
		return zodb.PassOn(s.Storage, target)
	case *zodb.Iterator:
		return zodb.Adapt(s.Storage, p, func(i zodb.Iterator) zodb.Iterator { return iterator{i, s.form} })
	case *zodb.RecordIterator:
		return zodb.Adapt(s.Storage, p, func(r zodb.RecordIterator) zodb.RecordIterator { return records{r, s.form} })
	case *zodb.Historian:
		return zodb.Adapt(s.Storage, p, func(h zodb.Historian) zodb.Historian { return historian{h, s.form} })
	case *zodb.Recaller:
		return zodb.Adapt(s.Storage, p, func(r zodb.Recaller) zodb.Recaller { return recaller{r, s.form} })
	case *zodb.Appender:
		return zodb.Adapt(s.Storage, p, func(a zodb.Appender) zodb.Appender { return appender{a} })
	}
	return false
}

// recaller has plain records in memory as far as they are there. One that cannot be read
// LoadBefore is to tell of.
type recaller struct {
	zodb.Recaller
	form form
}

func (r recaller) Recall(oid zodb.OID, tid zodb.TID) (zodb.Record, bool) {
	rec, ok := r.Recaller.Recall(oid, tid)
	if !ok {
		return zodb.Record{}, false
	}
	var err error
	rec.Data, err = r.form.read(oid, rec.Serial, rec.Data)
	return rec, err == nil
}

// iterator yields transactions with plain records.
type iterator struct {
	zodb.Iterator
	form form
}

func (i iterator) Transactions(ctx context.Context, start, stop zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	return plainly(i.Iterator.Transactions(ctx, start, stop), i.form.transaction)
}

func (i iterator) Backward(ctx context.Context, from zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	return plainly(i.Iterator.Backward(ctx, from), i.form.transaction)
}

// plainly passes each item of a sequence through read, whose error ends it.
func plainly[V any](seq iter.Seq2[V, error], read func(V) (V, error)) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		for v, err := range seq {
			if err == nil {
				v, err = read(v)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// transaction returns t with plain records. It leaves t alone.
func (f form) transaction(t *zodb.Transaction) (*zodb.Transaction, error) {
	plain := *t
	plain.Records = make([]zodb.TxnRecord, len(t.Records))
	for i, r := range t.Records {
		var err error
		if r.Data, err = f.read(r.OID, t.TID, r.Data); err != nil {
			return nil, err
		}
		plain.Records[i] = r
	}
	return &plain, nil
}

// records yields current records in plain form.
type records struct {
	zodb.RecordIterator
	form form
}

func (r records) Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	return plainly(r.RecordIterator.Current(ctx, asOf, from, to), func(c zodb.Current) (zodb.Current, error) {
		data, err := r.form.read(c.OID, c.Serial, c.Data)
		if err != nil {
			return zodb.Current{}, err
		}
		c.Data = data
		return c, nil
	})
}

// historian tells revisions with the sizes of the plain records.
type historian struct {
	zodb.Historian
	form form
}

func (h historian) LoadSerial(ctx context.Context, oid zodb.OID, serial zodb.TID) ([]byte, error) {
	data, err := h.Historian.LoadSerial(ctx, oid, serial)
	if err != nil {
		return nil, err
	}
	return h.form.read(oid, serial, data)
}

func (h historian) History(ctx context.Context, oid zodb.OID, size int) ([]zodb.Revision, error) {
	kept, err := h.Historian.History(ctx, oid, size)
	if err != nil {
		return nil, err
	}
	revisions := make([]zodb.Revision, len(kept))
	for i, r := range kept {
		if r.Size > 0 {
			data, err := h.LoadSerial(ctx, oid, r.TID)
			if err != nil {
				return nil, err
			}
			r.Size = int64(len(data))
		}
		revisions[i] = r
	}
	return revisions, nil
}

// appender hands on what the storage below began.
type appender struct{ zodb.Appender }

func (a appender) Append(ctx context.Context, txns []zodb.Txn) (n int, err error) {
	inner := make([]zodb.Txn, len(txns))
	for i, t := range txns {
		inner[i] = t
		if t, ok := t.(*txn); ok {
			inner[i] = t.Txn
		}
	}
	return a.Appender.Append(ctx, inner)
}
