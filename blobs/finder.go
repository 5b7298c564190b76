package blobs

import (
	"path/filepath"

	"github.com/zaridb/zari/zodb"
)

// Finder finds blobs for a reader who asks for very many revisions, most of which
// have none. It lists folders, and keeps the lists, where [Dir.Load] looks for each
// file: what is placed after the Finder was made it may not find. It is used by one
// goroutine at a time.
type Finder struct {
	dir    *Dir
	blocks map[zodb.OID]*block // bushy: by the oid without its last byte
	lawn   map[zodb.OID]bool   // lawn: the objects that have a folder; nil before the first look
}

// block has a bit for each of 256 oids, set if the object has a folder.
type block [4]uint64

// Finder returns a Finder that knows nothing yet.
func (d *Dir) Finder() *Finder { return &Finder{dir: d, blocks: make(map[zodb.OID]*block)} }

// Find returns the path of the blob, "" if there is none.
func (f *Finder) Find(oid zodb.OID, tid zodb.TID) (string, error) {
	has, err := f.hasFolder(oid)
	if err != nil || !has {
		return "", err
	}
	path, err := f.dir.Load(oid, tid)
	if _, missing := err.(*zodb.NoObjectError); missing {
		return "", nil
	}
	return path, err
}

func (f *Finder) hasFolder(oid zodb.OID) (bool, error) {
	if f.dir.layout == Lawn {
		return f.onLawn(oid)
	}
	b := f.blocks[oid>>8]
	if b == nil {
		var err error
		if b, err = f.list(oid); err != nil {
			return false, err
		}
		f.blocks[oid>>8] = b
	}
	return b[oid&0xff/64]&(1<<(oid%64)) != 0, nil
}

// list lists the folder that the folder of oid would be in.
func (f *Finder) list(oid zodb.OID) (*block, error) {
	entries, err := f.dir.readDir(filepath.Dir(f.dir.oidDir(oid)))
	if err != nil {
		return nil, err
	}
	b := new(block)
	for _, e := range entries {
		if n, ok := parseByte(e.Name()); ok {
			b[n/64] |= 1 << (n % 64)
		}
	}
	return b, nil
}

func (f *Finder) onLawn(oid zodb.OID) (bool, error) {
	if f.lawn == nil {
		lawn := make(map[zodb.OID]bool)
		for oid, err := range f.dir.oids() {
			if err != nil {
				return false, err
			}
			lawn[oid] = true
		}
		f.lawn = lawn
	}
	return f.lawn[oid], nil
}
