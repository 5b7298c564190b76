package filestorage

import "github.com/zaridb/zari/zodb"

// tids remembers the tids of the records that were written last, by position: what is
// written once is likely to be written again soon, and then every vote asks for it. A
// record may push out another. It is guarded by Storage.mu.
type tids [1 << tidsBits]struct {
	pos int64
	tid zodb.TID
}

const tidsBits = 12

func (t *tids) put(pos int64, tid zodb.TID) {
	e := &t[place(pos)]
	e.pos, e.tid = pos, tid
}

// get returns 0 for a record that it does not remember.
func (t *tids) get(pos int64) zodb.TID {
	if e := &t[place(pos)]; e.pos == pos {
		return e.tid
	}
	return 0
}

// place spreads positions over the table (Fibonacci hashing, Knuth 6.4).
func place(pos int64) uint64 { return uint64(pos) * 0x9E3779B97F4A7C15 >> (64 - tidsBits) }
