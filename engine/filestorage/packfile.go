package filestorage

import (
	"cmp"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

const (
	// packSync is after how many bytes the file that a pack writes begins to be
	// synced, beside its being written on: the last sync has little to do then.
	packSync = 16 << 20
	// packMargin is what a pack leaves free on the disk, for commits.
	packMargin = 64 << 20
	// packWrite is how much is collected before it is written.
	packWrite = 1 << 19
	// packBuffers is what a pack needs besides its tables: windows and buffers.
	packBuffers = 2*packWrite + 2*packPiece
)

// packFile is a file that is written from its beginning to its end. Without a file
// it is only measured.
type packFile struct {
	file    vfs.File
	name    string
	early   bool         // sync while writing
	full    func() error // asked now and then whether the disk is too full to go on
	written int64
	buf     []byte

	synced int64       // what was written before the last sync began
	busy   atomic.Bool // one runs
	wg     sync.WaitGroup
	mu     sync.Mutex
	err    error // of one that ran beside; it would not be told again
}

// pos returns where the next byte will be.
func (f *packFile) pos() int64 { return f.written + int64(len(f.buf)) }

func (f *packFile) flush() error {
	if f.file != nil {
		if _, err := f.file.WriteAt(f.buf, f.written); err != nil {
			return err
		}
	}
	f.written += int64(len(f.buf))
	f.buf = f.buf[:0]
	if !f.early || f.written-f.synced < packSync {
		return nil
	}
	return f.syncBeside()
}

// flushFull writes the buffer if there is much in it.
func (f *packFile) flushFull() error {
	if len(f.buf) < packWrite {
		return nil
	}
	return f.flush()
}

// syncBeside starts a sync, unless one is running: the disk sets the pace.
func (f *packFile) syncBeside() error {
	if !f.busy.CompareAndSwap(false, true) {
		return nil
	}
	if err := f.wait(); err != nil {
		return err
	}
	if err := f.full(); err != nil {
		return err
	}
	f.synced = f.written
	f.wg.Go(func() {
		defer f.busy.Store(false)
		err := f.file.Datasync()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.err = cmp.Or(f.err, err)
	})
	return nil
}

// wait waits for a sync that runs beside, and returns what any of them said.
func (f *packFile) wait() error {
	f.wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// sync writes what is left and makes everything durable.
func (f *packFile) sync() error {
	if err := f.flush(); err != nil {
		return err
	}
	if err := f.wait(); err != nil {
		return err
	}
	return f.file.Sync()
}

// full ends a pack that would leave too little for commits.
func (p *packer) full() error {
	free, err := p.fs.Free(filepath.Dir(p.path))
	if err != nil || free >= packMargin {
		return nil
	}
	return fmt.Errorf("only %d MB are left on the disk for commits: %w", free>>20, zodb.ErrNoSpace)
}
