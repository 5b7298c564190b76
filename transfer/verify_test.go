package transfer_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/transfer"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// putBlob restores a transaction with one blob.
func putBlob(t *testing.T, s *store.Store, tid zodb.TID, oid zodb.OID, content string) {
	t.Helper()
	dir, err := s.BlobTempDir()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(dir, "*")
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(content)
	f.Close()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{TID: tid})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := zodb.As[zodb.BlobTxn](txn)
	record, err := pickle.EncodeRecord(&pickle.Global{Module: "ZODB.blob", Name: "Blob"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.RestoreBlob(t.Context(), oid, record, 0, f.Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), []zodb.Txn{txn}); err != nil {
		t.Fatal(err)
	}
}

// Every kind of difference is noticed, each by itself.
func TestVerifyNotices(t *testing.T) {
	type records = []zodb.TxnRecord
	type txn struct {
		meta    zodb.TxnMeta
		records records
		blob    string
	}
	base := func() []txn {
		return []txn{
			{meta: zodb.TxnMeta{TID: 1000, User: []byte("u"), Description: []byte("d"), Extension: extension},
				records: records{{OID: 1, Data: []byte("one")}, {OID: 2, Data: []byte("two")}}},
			{meta: zodb.TxnMeta{TID: 1001}, records: records{{OID: 1, Data: []byte("eins")}}},
			{meta: zodb.TxnMeta{TID: 1002}, records: records{{OID: 1, Data: []byte("one"), From: 1000}}},
			{meta: zodb.TxnMeta{TID: 1003}, records: records{{OID: 2}}},
			{meta: zodb.TxnMeta{TID: 1004}, blob: strings.Repeat("x", 3<<20)},
		}
	}
	build := func(txns []txn) *store.Store {
		s := memory(t)
		for _, x := range txns {
			if x.blob != "" {
				putBlob(t, s, x.meta.TID, 9, x.blob)
			} else {
				put(t, s, x.meta, x.records...)
			}
		}
		return s
	}
	src := build(base())
	for _, c := range []struct {
		name  string
		spoil func(txns []txn) []txn
		want  string // what the difference says, "" for none
	}{
		{"nothing", func(txns []txn) []txn { return txns }, ""},
		{"order", func(txns []txn) []txn { slices.Reverse(txns[0].records); return txns }, ""},
		{"missing", func(txns []txn) []txn { return slices.Delete(txns, 1, 2) }, "transaction 00000000000003e9: only in source"},
		{"missing at the end", func(txns []txn) []txn { return txns[:4] }, "transaction 00000000000003ec: only in source"},
		{"more", func(txns []txn) []txn { return append([]txn{{meta: zodb.TxnMeta{TID: 5}}}, txns...) }, "transaction 0000000000000005: only in destination"},
		{"more at the end", func(txns []txn) []txn { return append(txns, txn{meta: zodb.TxnMeta{TID: 2000}}) }, "transaction 00000000000007d0: only in destination"},
		{"status", func(txns []txn) []txn { txns[0].meta.Status = 'p'; return txns }, `status differs: ' ' and 'p'`},
		{"user", func(txns []txn) []txn { txns[0].meta.User = nil; return txns }, `user differs: "u" and ""`},
		{"description", func(txns []txn) []txn { txns[0].meta.Description = []byte("e"); return txns }, "description differs"},
		{"extension", func(txns []txn) []txn { txns[0].meta.Extension = nil; return txns }, "extension differs"},
		{"data", func(txns []txn) []txn { txns[0].records[1].Data = []byte("zwo"); return txns }, "transaction 00000000000003e8 object 0x02: data differs: 3 bytes and 3 bytes"},
		{"undo", func(txns []txn) []txn { txns[2].records[0].From = 0; return txns }, "object 0x01: undo differs"},
		{"deletion", func(txns []txn) []txn { txns[3].records[0].Data = []byte("x"); return txns }, "object 0x02: data differs: a deletion and 1 bytes"},
		{"record missing", func(txns []txn) []txn { txns[0].records = txns[0].records[:1]; return txns }, "object 0x02: only in source"},
		{"record more", func(txns []txn) []txn { txns[3].records = append(txns[3].records, zodb.TxnRecord{OID: 7}); return txns }, "object 0x07: only in destination"},
		{"blob missing", func(txns []txn) []txn {
			record, _ := pickle.EncodeRecord(&pickle.Global{Module: "ZODB.blob", Name: "Blob"}, nil)
			txns[4].blob, txns[4].records = "", records{{OID: 9, Data: record}}
			return txns
		}, "blob differs: only the source has a file"},
		{"blob shorter", func(txns []txn) []txn { txns[4].blob = txns[4].blob[:2<<20]; return txns }, "blob differs: the files differ from byte 2097152 on"},
		{"blob content", func(txns []txn) []txn {
			txns[4].blob = txns[4].blob[:2<<20] + "y" + txns[4].blob[2<<20+1:]
			return txns
		}, "blob differs: the files differ from byte 2097152 on"},
	} {
		v, err := transfer.Verify(t.Context(), build(c.spoil(base())), src, transfer.VerifyOptions{})
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want == "" && !v.Equal():
			t.Errorf("%s: %v", c.name, v.Differences)
		case c.want != "" && (v.Count != 1 || !strings.Contains(v.Differences[0].String(), c.want)):
			t.Errorf("%s: %v, want one of %q", c.name, v.Differences, c.want)
		}
	}
}

func TestVerifyKeepsTheFirst(t *testing.T) {
	w := newWorld(t, memory(t), 12)
	w.grow(50)
	v, err := transfer.Verify(t.Context(), memory(t), w.s, transfer.VerifyOptions{Most: 3})
	if err != nil || v.Count != int64(len(w.tids)) || len(v.Differences) != 3 || v.Differences[0].TID != w.tids[0] {
		t.Errorf("%+v, %v", v, err)
	}
}
