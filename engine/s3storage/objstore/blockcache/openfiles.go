package blockcache

import (
	"container/list"
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// openFiles keeps files open of which parts were read last: opening and closing one takes
// several times as long as reading a record from it.
type openFiles struct {
	max int

	mu     sync.Mutex
	closed bool
	order  *list.List // of *openFile, the last used in front
	files  map[blockID]*list.Element
}

// openFile is the file of a block that was found whole. It stays so unless its size or time
// changes: then it has to be looked at anew.
type openFile struct {
	id   blockID
	path string
	file *os.File
	info fs.FileInfo // when it was opened
	data int64       // where the data begin
	size int64       // of the data

	checked atomic.Int64 // when size and time were last compared, in nanoseconds since 1970
}

// checkEvery is how often that is done.
const checkEvery = time.Second

var errChanged = errors.New("the file has changed since it was opened")

func newOpenFiles(max int) *openFiles {
	return &openFiles{max: max, order: list.New(), files: make(map[blockID]*list.Element)}
}

// read reads n bytes at off, or as many as there are.
func (f *openFile) read(off, n int64) ([]byte, error) {
	if now := time.Now().UnixNano(); now-f.checked.Load() > int64(checkEvery) {
		f.checked.Store(now)
		if err := f.check(); err != nil {
			return nil, err
		}
	}
	off = min(off, f.size)
	data := make([]byte, min(n, f.size-off))
	_, err := f.file.ReadAt(data, f.data+off)
	return data, err
}

// check reports an error if the file has changed.
func (f *openFile) check() error {
	info, err := f.file.Stat()
	if err == nil && (info.Size() != f.info.Size() || !info.ModTime().Equal(f.info.ModTime())) {
		err = errChanged
	}
	return err
}

// stale reports whether it is time to note that the file is used.
func (f *openFile) stale() bool { return time.Since(f.info.ModTime()) > touchAge }

func (o *openFiles) get(id blockID) *openFile {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, ok := o.files[id]
	if !ok {
		return nil
	}
	o.order.MoveToFront(e)
	return e.Value.(*openFile)
}

// add keeps a file open, and closes those that are too many.
func (o *openFiles) add(f *openFile) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.files[f.id]; ok || o.closed || o.max == 0 {
		f.file.Close()
		return
	}
	o.files[f.id] = o.order.PushFront(f)
	for o.order.Len() > o.max {
		o.drop(o.order.Back())
	}
}

// drop closes a file. o.mu is held. Who reads from it opens it again.
func (o *openFiles) drop(e *list.Element) {
	f := o.order.Remove(e).(*openFile)
	delete(o.files, f.id)
	f.file.Close()
}

// forget closes a file, which is not to be used any more or was not added.
func (o *openFiles) forget(f *openFile) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e, ok := o.files[f.id]; ok && e.Value == any(f) {
		o.drop(e)
		return
	}
	f.file.Close()
}

// sweep closes files that were deleted: they take space until then.
func (o *openFiles) sweep() {
	o.mu.Lock()
	files := make([]*openFile, 0, len(o.files))
	for e := o.order.Front(); e != nil; e = e.Next() {
		files = append(files, e.Value.(*openFile))
	}
	o.mu.Unlock()
	for _, f := range files {
		if _, err := os.Stat(f.path); errors.Is(err, fs.ErrNotExist) {
			o.forget(f)
		}
	}
}

func (o *openFiles) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for o.order.Len() > 0 {
		o.drop(o.order.Back())
	}
}
