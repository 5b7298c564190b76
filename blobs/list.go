package blobs

import (
	"cmp"
	"errors"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"

	"github.com/zaridb/zari/zodb"
)

// Revisions returns the tids of the blobs of oid, oldest first; none if there is
// no such object.
func (d *Dir) Revisions(oid zodb.OID) ([]zodb.TID, error) { return d.revisions(d.oidDir(oid)) }

func (d *Dir) revisions(dir string) ([]zodb.TID, error) {
	entries, err := d.readDir(dir)
	if err != nil {
		return nil, err
	}
	var tids []zodb.TID
	for _, e := range entries {
		if tid, ok := parseFileName(e.Name()); ok && !e.IsDir() {
			tids = append(tids, tid)
		}
	}
	slices.Sort(tids)
	return tids, nil
}

// All yields every blob, in the order of oids and then of tids. Blobs that come
// or go meanwhile may be yielded or not. It ends at the first error.
func (d *Dir) All() iter.Seq2[ID, error] {
	return func(yield func(ID, error) bool) {
		for oid, err := range d.oids() {
			if err != nil {
				yield(ID{}, err)
				return
			}
			tids, err := d.Revisions(oid)
			if err != nil {
				yield(ID{}, err)
				return
			}
			for _, tid := range tids {
				if !yield(ID{OID: oid, TID: tid}, nil) {
					return
				}
			}
		}
	}
}

// oids yields the objects that have a folder.
func (d *Dir) oids() iter.Seq2[zodb.OID, error] {
	return func(yield func(zodb.OID, error) bool) {
		if d.layout == Lawn {
			d.walkLawn(yield)
			return
		}
		d.walkBushy(d.root, 0, 8, yield)
	}
}

func (d *Dir) walkLawn(yield func(zodb.OID, error) bool) {
	entries, err := d.readDir(d.root)
	if err != nil {
		yield(0, err)
		return
	}
	var oids []zodb.OID
	for _, e := range entries {
		if v, ok := parseRepr(e.Name()); ok && e.IsDir() {
			oids = append(oids, zodb.OID(v))
		}
	}
	slices.Sort(oids)
	for _, oid := range oids {
		if !yield(oid, nil) {
			return
		}
	}
}

// walkBushy walks the levels below dir, which stands for the first bytes of an
// oid, and reports whether to go on.
func (d *Dir) walkBushy(dir string, oid zodb.OID, levels int, yield func(zodb.OID, error) bool) bool {
	if levels == 0 {
		return yield(oid, nil)
	}
	entries, err := d.readDir(dir)
	if err != nil {
		yield(0, err)
		return false
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		b, ok := parseByte(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		if !d.walkBushy(filepath.Join(dir, e.Name()), oid<<8|zodb.OID(b), levels-1, yield) {
			return false
		}
	}
	return true
}

// readDir is ReadDir, where a folder that has gone is an empty one.
func (d *Dir) readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := d.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}
