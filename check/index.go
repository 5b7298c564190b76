package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// coverage is how much of the file the index beside it covers, and how many objects
// Walk had found there.
type coverage struct {
	pos   int64
	known bool // pos is
	found bool // a transaction ends at pos
	n     int
}

// peek reads how far the index goes.
func (c *coverage) peek(path string) {
	f, err := os.Open(path + ".index")
	if err != nil {
		return
	}
	defer f.Close()
	pos, err := datafs.ReadIndex(f, func(*datafs.Bucket) {})
	c.pos, c.known = pos, err == nil
}

func (c *coverage) at(pos int64, n int) {
	if c.known && pos == c.pos && !c.found {
		c.found, c.n = true, n
	}
}

// Index compares the .index beside the file with what Walk found. An index that the
// next start would not use is a warning.
func (f *File) Index(_ context.Context, r *Report) error {
	name := f.path + ".index"
	problem := func(warning bool, format string, args ...any) {
		r.add(&Problem{Kind: KindIndex, Warning: warning, File: name, Message: fmt.Sprintf(format, args...)})
	}
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if same, err := f.unchanged(); err != nil || !same {
		return err
	}
	n := 0
	wrong := func(oid zodb.OID, format string, args ...any) {
		problem(false, "object %v: %s", oid, fmt.Sprintf(format, args...))
	}
	if f.covered.known && f.covered.pos > f.size { // of another file, or this one was cut: no entry matters
		problem(true, "it covers %d bytes, and the file has %d: it will be made anew", f.covered.pos, f.size)
		return nil
	}
	covers, err := datafs.ReadIndex(file, func(b *datafs.Bucket) {
		n += b.Len()
		for i := range b.Len() {
			suffix, pos := b.At(i)
			f.checkEntry(zodb.OID(b.Prefix<<16|uint64(suffix)), pos, wrong)
		}
	})
	switch {
	case err != nil:
		problem(true, "it cannot be used, and will be made anew: %v", err)
	case covers != f.covered.pos:
		// It was written since the walk began.
	case !f.covered.found:
		problem(false, "it covers %d bytes, where no transaction ends", covers)
	case n != f.covered.n:
		problem(false, "it has %d objects; that part of the file has %d", n, f.covered.n)
	}
	return nil
}

// checkEntry compares an entry of the index with the newest record of the object in
// the part of the file that the index covers.
func (f *File) checkEntry(oid zodb.OID, pos int64, wrong func(zodb.OID, string, ...any)) {
	newest := int64(f.current.get(oid))
	if newest == 0 {
		wrong(oid, "it is not in the file; the index has it at offset %d", pos)
		return
	}
	for newest >= f.covered.pos && newest != 0 {
		h, err := f.header(newest, oid)
		if err != nil {
			return // as Walk has reported
		}
		newest = h.Prev
	}
	if newest != pos {
		wrong(oid, "the index has it at offset %d, its newest record there is at %d", pos, newest)
	}
}

// unchanged reports whether the file still has the name by which it was opened.
func (f *File) unchanged() (bool, error) {
	mine, err := f.file.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(mine, now), nil
}
