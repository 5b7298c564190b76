package filestorage

import (
	"cmp"
	"slices"
	"sync"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// markEvery is about how many bytes lie between two marks.
const markEvery = 1 << 20

// mark is the position of a transaction. Without a tid it is the position of a
// data record, whose transaction has not been looked at.
type mark struct {
	pos int64
	tid zodb.TID
}

// marks are some positions of a data file, ascending, from which a search for a
// tid may start. They are collected while the file is read or appended to; where
// the index came from its file they are taken from there at the first search.
type marks struct {
	mu        sync.Mutex
	list      []mark
	fromIndex bool // list was completed from the index
}

// add notes a transaction behind all others, if it is far enough from the last
// one noted.
func (m *marks) add(pos int64, tid zodb.TID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.list); n == 0 || pos >= m.list[n-1].pos+markEvery {
		m.list = append(m.list, mark{pos, tid})
	}
}

// merge notes more marks.
func (m *marks) merge(more []mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Concat(m.list, more) // the old one may be in use
	slices.SortFunc(list, func(a, b mark) int { return cmp.Compare(a.pos, b.pos) })
	kept := list[:0]
	for _, k := range list {
		if len(kept) == 0 || k.pos >= kept[len(kept)-1].pos+markEvery/2 {
			kept = append(kept, k)
		}
	}
	m.list = kept
}

// needIndex reports, once, whether the beginning of the file has no marks.
func (m *marks) needIndex(end int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := end
	if len(m.list) > 0 {
		first = m.list[0].pos
	}
	need := !m.fromIndex && first > 4*markEvery
	m.fromIndex = m.fromIndex || need
	return need
}

// marksFromIndex takes one record from each piece of the file.
func (s *Storage) marksFromIndex(v *view) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pieces := make([]int64, v.end/markEvery+1)
	v.index.sort()
	v.index.ascend(0, ^zodb.OID(0), func(_ zodb.OID, pos int64) bool {
		if i := pos / markEvery; i < int64(len(pieces)) && (pieces[i] == 0 || pos < pieces[i]) {
			pieces[i] = pos
		}
		return true
	})
	var list []mark
	for _, pos := range pieces {
		if pos != 0 {
			list = append(list, mark{pos: pos})
		}
	}
	v.marks.merge(list)
}

// start returns the position of a transaction that is not later than the first
// one >= tid: some megabyte before it, if there are marks nearby.
func (s *Storage) start(v *view, tid zodb.TID) (int64, error) {
	if tid <= 1 {
		return datafs.MagicSize, nil
	}
	if v.marks.needIndex(v.end) {
		s.marksFromIndex(v)
	}
	list := v.marks.before(v.end)
	low, high := 0, len(list) // the mark before low is < tid, the one at high >= tid
	pos := int64(datafs.MagicSize)
	for low < high {
		mid := (low + high) / 2
		k, err := v.look(list[mid])
		if err != nil {
			return 0, err
		}
		if k.tid < tid {
			low, pos = mid+1, k.pos
		} else {
			high = mid
		}
	}
	return pos, nil
}

// before returns the marks before end. They are never changed, only replaced.
func (m *marks) before(end int64) []mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, _ := slices.BinarySearchFunc(m.list, end, func(k mark, end int64) int { return cmp.Compare(k.pos, end) })
	return m.list[:n:n]
}

// look returns the mark with its transaction's position and tid.
func (v *view) look(k mark) (mark, error) {
	if k.tid != 0 {
		return k, nil
	}
	var b [datafs.DataHeaderSize]byte
	if n, err := v.file.ReadAt(b[:], k.pos); n < len(b) {
		return k, v.readError(k.pos, err)
	}
	h := datafs.DecodeDataHeader(b[:])
	if err := h.Check(k.pos, v.end); err != nil {
		return k, v.corrupt(k.pos, err)
	}
	return mark{pos: h.Txn, tid: h.TID}, nil
}
