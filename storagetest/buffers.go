package storagetest

import (
	"bytes"
	"hash/maphash"

	"github.com/zaridb/zari/zodb"
)

// The buffers group is about who owns the bytes: nobody writes to what has passed
// the contract. With the race detector on, a write shows as well.
var buffersGroup = group{name: "buffers", tests: []test{
	{name: "Returned", run: testBuffersReturned},
	{name: "Given", run: testBuffersGiven},
	{name: "Conflicts", run: testBuffersConflicts},
}}

// retained holds slices and a hash of what they held when they were received.
type retained struct {
	seed   maphash.Seed
	slices [][]byte
	hashes []uint64
}

func (r *retained) add(b []byte) {
	r.slices = append(r.slices, b)
	r.hashes = append(r.hashes, maphash.Bytes(r.seed, b))
}

func (r *retained) check(t *T, what string) {
	t.Helper()
	for i, b := range r.slices {
		if maphash.Bytes(r.seed, b) != r.hashes[i] {
			t.Fatalf("slice %d that was %s has changed: %.60q", i, what, b)
		}
	}
}

func testBuffersReturned(t *T) {
	r := retained{seed: maphash.MakeSeed()}
	var serials [3]zodb.TID
	for i := range 30 {
		oid := zodb.OID(i%3 + 1)
		serials[i%3] = t.put(oid, serials[i%3], ObjectOf(i, 100*i))
		r.add(t.load(oid).Data)
		if h, ok := zodb.As[zodb.Historian](t.S); ok {
			data, err := h.LoadSerial(t.ctx, oid, serials[i%3])
			if err != nil {
				t.Fatalf("LoadSerial: %v", err)
			}
			r.add(data)
		}
	}
	if t.has(CapIterator) {
		for _, txn := range t.history() {
			r.add(txn.Extension)
			for _, rec := range txn.Records {
				r.add(rec.Data)
			}
		}
	}
	for oid := range zodb.OID(3) {
		t.put(oid+1, serials[oid], ObjectOf(int(oid), 4000))
	}
	r.check(t, "returned")
}

// What is given is neither changed nor appended to in place.
func testBuffersGiven(t *T) {
	r := retained{seed: maphash.MakeSeed()}
	give := func(b []byte) []byte {
		guarded := append(bytes.Clone(b), "guard"...)
		r.add(guarded)
		return guarded[:len(b)]
	}
	var serial zodb.TID
	for i := range 20 {
		txn := t.beginWith(zodb.TxnMeta{User: give([]byte("user")), Description: give([]byte("note")), Extension: give(extension)})
		t.store(txn, write{1, serial, give(ObjectOf(i, 50*i))})
		serial = t.end(txn)
	}
	r.check(t, "given")
	t.load(1)
	r.check(t, "given")
}

func testBuffersConflicts(t *T) {
	r := retained{seed: maphash.MakeSeed()}
	tids := t.revisions(1, 2)
	last := tids[1]
	for i := range 10 {
		data := ObjectOf(i, 300)
		r.add(data)
		txn := t.writing(write{1, tids[0], data})
		r.add(conflicts(t, txn)[0].Data)
		merged := ObjectOf(100+i, 300)
		r.add(merged)
		t.store(txn, write{1, last, merged})
		last = t.end(txn)
	}
	r.check(t, "given or returned")
}
