package compress

import (
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/compressed"
)

// References makes a scanner of plain records, which must not keep what it is
// given, one of records that may be compressed.
func References(scan func(data []byte, dst []zodb.OID) ([]zodb.OID, error)) func(data []byte, dst []zodb.OID) ([]zodb.OID, error) {
	return func(data []byte, dst []zodb.OID) ([]zodb.OID, error) {
		err := compressed.View(data, defaultMaxRecord, func(plain []byte) (err error) {
			dst, err = scan(plain, dst)
			return err
		})
		return dst, err
	}
}

// Resolver makes a resolver of plain records one of records that may be
// compressed. The merged record is compressed if the one was that was to be
// written.
func Resolver(r store.Resolver) store.Resolver { return resolver{r} }

type resolver struct{ plain store.Resolver }

var (
	_ store.UndoResolver = resolver{}
	_ store.TxnResolver  = resolver{}
)

func (r resolver) Resolve(base, committed, wanted []byte) (merged []byte, ok bool) {
	return throughCompression(r.plain.Resolve, base, committed, wanted)
}

// ResolveUndo merges in an undo, if that makes a difference to the resolver.
func (r resolver) ResolveUndo(base, committed, wanted []byte) (merged []byte, ok bool) {
	if u, ok := r.plain.(store.UndoResolver); ok {
		return throughCompression(u.ResolveUndo, base, committed, wanted)
	}
	return r.Resolve(base, committed, wanted)
}

// ForTxn merges in one vote, if the resolver does: what it reads may be compressed, what
// it makes is compressed here.
func (r resolver) ForTxn(t store.Pending) store.TxnMerger {
	f, ok := r.plain.(store.TxnResolver)
	if !ok {
		return nil
	}
	m := f.ForTxn(t)
	if m == nil {
		return nil
	}
	return txnMerger{m}
}

type txnMerger struct{ store.TxnMerger }

func (m txnMerger) Merge(base, committed, wanted []byte) (merged []byte, ok bool) {
	return throughCompression(m.TxnMerger.Merge, base, committed, wanted)
}

func throughCompression(merge func(base, committed, wanted []byte) ([]byte, bool), base, committed, wanted []byte) ([]byte, bool) {
	var plain [3][]byte
	for i, data := range [][]byte{base, committed, wanted} {
		var err error
		if plain[i], err = compressed.Read(data, defaultMaxRecord); err != nil {
			return nil, false
		}
	}
	merged, ok := merge(plain[0], plain[1], plain[2])
	if ok && compressed.Is(wanted) && len(merged) <= defaultMaxRecord {
		merged = compressed.Write(merged)
	}
	return merged, ok
}
