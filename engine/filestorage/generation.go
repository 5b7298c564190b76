package filestorage

import (
	"sync/atomic"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// generation is one data file, open for reading, with its index. A pack makes a
// new one. All but file and name are guarded by Storage.mu.
type generation struct {
	file  vfs.File
	name  string
	refs  atomic.Int64 // users, the storage among them; the last one closes the file
	index *index
	end   int64    // just behind the last transaction
	head  zodb.TID // of the last transaction
	marks marks
	tids  *tids // nil for one that is only written, by a pack
}

func (g *generation) release() {
	if g.refs.Add(-1) == 0 {
		g.file.Close() // it was only read
	}
}

// view is a generation as it was at a moment. It must be released.
type view struct {
	*generation
	end  int64
	head zodb.TID
}

// view returns what there is now.
func (s *Storage) view() (view, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.viewLocked()
}

func (s *Storage) viewLocked() (view, error) {
	g := s.gen
	if g == nil {
		return view{}, zodb.ErrClosed
	}
	g.refs.Add(1)
	return view{generation: g, end: g.end, head: g.head}, nil
}

// lookup returns a view and the position of oid's newest record in it.
func (s *Storage) lookup(oid zodb.OID) (view, int64, error) {
	s.mu.RLock()
	v, err := s.viewLocked()
	var pos int64
	if err == nil {
		pos = v.index.get(oid)
	}
	s.mu.RUnlock()
	return v, pos, err
}
