package dir

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// List implements objstore.Store. It reads one folder at a time, and tells no etags.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		err := s.begin(ctx, &s.meter.List, objstore.CheckPrefix(prefix))
		if err == nil {
			w := &walk{s: s, ctx: ctx, prefix: prefix, after: after, yield: yield}
			folder := prefix[:strings.LastIndexByte(prefix, '/')+1]
			err = w.folder(folder)
			s.meter.List.Add(max(w.n-1, 0) / 1000) // as many pages as a bucket's
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(objstore.Info{}, s.fail("List", prefix, err))
		}
	}
}

var errStop = errors.New("enough")

// walk is a list on its way.
type walk struct {
	s             *Store
	ctx           context.Context
	prefix, after string
	yield         func(objstore.Info, error) bool
	n             int64
}

// folder yields what is below a folder, which is empty or ends with a slash.
func (w *walk) folder(folder string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	entries, err := w.s.fs.ReadDir(w.s.path(folder))
	if err != nil {
		if notExist(err) == objstore.ErrNotExist {
			return nil
		}
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(keyName(a), keyName(b)) })
	for _, e := range entries {
		if err := w.entry(folder, e); err != nil {
			return err
		}
	}
	return nil
}

// keyName is how the keys of an entry go on after its folder's: with the slash, which
// counts in their order.
func keyName(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func (w *walk) entry(folder string, e fs.DirEntry) error {
	key := folder + keyName(e)
	if strings.HasPrefix(e.Name(), ".") {
		return nil
	}
	if e.IsDir() {
		mayHold := strings.HasPrefix(key, w.prefix) || strings.HasPrefix(w.prefix, key)
		if !mayHold || key < w.after && !strings.HasPrefix(w.after, key) {
			return nil
		}
		return w.folder(key)
	}
	if !strings.HasPrefix(key, w.prefix) || key <= w.after {
		return nil
	}
	st, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	w.n++
	if !w.yield(objstore.Info{Key: key, Size: st.Size(), Modified: st.ModTime()}, nil) {
		return errStop
	}
	return nil
}
