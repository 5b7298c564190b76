package index

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zaridb/zari/zodb"
)

func TestSize(t *testing.T) {
	last := Size(0)
	for n := 8; n < 1<<20; n++ {
		s := SizeOf(n)
		if b := s.Bytes(); b < int64(n) || b > int64(n)+int64(n)/8 {
			t.Fatalf("a record of %d bytes is said to have %d", n, b)
		}
		if s < last {
			t.Fatalf("SizeOf(%d) = %d, after %d", n, s, last)
		}
		last = s
	}
	if n := 1<<32 - 1; SizeOf(n).Bytes() < int64(n) || SizeOf(n).Bytes() > 1<<32 {
		t.Errorf("SizeOf(%d).Bytes() = %d", n, SizeOf(n).Bytes())
	}
	loc := At(MaxContainer, 1<<32-1, 255)
	if loc.Container() != MaxContainer || loc.Off() != 1<<32-1 || loc.Size() != 255 {
		t.Errorf("loc %x", loc)
	}
}

// model is an Index that does the obvious thing.
type model []Entry

func (m model) search(oid zodb.OID, tid zodb.TID) (int, bool) {
	return slices.BinarySearchFunc(m, key{oid, tid}, func(e Entry, k key) int {
		return cmp.Or(cmp.Compare(e.OID, k.oid), cmp.Compare(e.TID, k.tid))
	})
}

func (m *model) put(e Entry) {
	i, found := m.search(e.OID, e.TID)
	if found {
		(*m)[i] = e
		return
	}
	*m = slices.Insert(*m, i, e)
}

func (m model) objects() int {
	seen := make(map[zodb.OID]bool)
	for _, e := range m {
		seen[e.OID] = true
	}
	return len(seen)
}

func randomOID(rnd *rand.Rand) zodb.OID {
	high := []zodb.OID{0, 0, 0, 1 << 32, 5 << 40, 1<<64 - 1<<32}[rnd.IntN(6)]
	return high + zodb.OID(rnd.IntN(900))
}

func TestLikeAList(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var x Index
		var m model
		for i := range 6000 {
			e := Entry{randomOID(rnd), zodb.TID(1 + rnd.IntN(50)), Loc(rnd.Uint64())}
			if rnd.IntN(3) == 0 {
				e.OID = zodb.OID(i) // ascending
			}
			x.Put(e.OID, e.TID, e.Loc)
			m.put(e)
		}
		same(t, &x, m)
		gone := map[uint32]bool{}
		for _, e := range m {
			if e.Loc&3 == 0 {
				gone[e.Loc.Container()] = true
			}
		}
		x.DropFrom(gone)
		m = slices.DeleteFunc(m, func(e Entry) bool { return gone[e.Loc.Container()] })
		same(t, &x, m)
		var built Index
		for _, e := range m {
			built.Append(e)
		}
		same(t, &built, m)
	}
}

func same(t *testing.T, x *Index, m model) {
	t.Helper()
	if x.Len() != len(m) || x.Objects() != m.objects() {
		t.Fatalf("%d entries of %d objects, want %d of %d", x.Len(), x.Objects(), len(m), m.objects())
	}
	if got := x.Read(0, 0, 1<<30, nil); !slices.Equal(got, m) {
		t.Fatal("Read: the entries differ")
	}
	var paged []Entry
	from := key{}
	for {
		n := len(paged)
		paged = x.Read(from.oid, from.tid, 7, paged)
		if len(paged) == n {
			break
		}
		last := paged[len(paged)-1]
		from = key{last.OID, last.TID + 1}
	}
	if !slices.Equal(paged, m) {
		t.Fatal("Read in pages: the entries differ")
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	for range 3000 {
		oid, tid := randomOID(rnd), zodb.TID(rnd.IntN(53))
		i, found := m.search(oid, tid)
		if loc, ok := x.Find(oid, tid); ok != found || ok && loc != m[i].Loc {
			t.Fatalf("Find(%v, %v) = %v, %v", oid, tid, loc, ok)
		}
		e, next, known, ok := x.Before(oid, tid)
		wantOK := i > 0 && m[i-1].OID == oid
		wantNext := zodb.TID(0)
		if i < len(m) && m[i].OID == oid {
			wantNext = m[i].TID
		}
		if ok != wantOK || ok && e != m[i-1] || next != wantNext || known != (wantOK || wantNext != 0) {
			t.Fatalf("Before(%v, %v) = %v %v %v %v", oid, tid, e, next, known, ok)
		}
	}
}

// TestMemory holds the table to its size, built in order and at random.
func TestMemory(t *testing.T) {
	const n = 200_000
	var built Index
	for i := range n {
		built.Append(Entry{zodb.OID(i), 1, 1})
	}
	if per := float64(built.Memory()) / n; per > 21 {
		t.Errorf("%.1f bytes for an entry of a table that was built in order", per)
	}
	var x Index
	rnd := rand.New(rand.NewPCG(1, 1))
	for range n {
		x.Put(zodb.OID(rnd.IntN(1<<40)), 1, 1)
	}
	if per := float64(x.Memory()) / float64(x.Len()); per > 36 {
		t.Errorf("%.1f bytes for an entry of a random table", per)
	}
}

func BenchmarkPut(b *testing.B) {
	var x Index
	rnd := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		x.Put(zodb.OID(rnd.IntN(1<<24)), 1, 1)
	}
}

func BenchmarkBefore(b *testing.B) {
	var x Index
	for i := range 5_000_000 {
		x.Append(Entry{zodb.OID(i), 1, 1})
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		x.Before(zodb.OID(rnd.IntN(5_000_000)), zodb.MaxTID)
	}
}
