package disklog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// fileBytes is how large a file becomes before the next one is begun.
const fileBytes = 16 << 20

// Log is a log in a directory.
type Log struct {
	place *Place
	id    layout.ID
	dir   string

	putMu sync.Mutex // one Put at a time

	mu      sync.Mutex
	first   uint64 // the slot that entries begin behind
	last    uint64
	epoch   uint64
	entries []entry // of the slots after first
	files   []*file // in order; the last one is written to
	number  uint64  // of the last file that was made
	removed bool
}

var _ front.Log = (*Log)(nil)

type file struct {
	vfs.File
	path   string
	number uint64
	size   int64
	last   uint64 // its last slot, or the one that it begins behind
}

// entry is where a slot lies.
type entry struct {
	file *file
	off  int64
	len  int
}

// Put implements front.Log.
func (l *Log) Put(_ context.Context, slot, epoch uint64, object []byte) error {
	l.putMu.Lock()
	defer l.putMu.Unlock()
	current, err := l.fits(slot, epoch)
	if err != nil {
		return err
	}
	f := &frame{slot: slot, epoch: epoch, object: object}
	if current.size >= fileBytes {
		return l.newFile(f)
	}
	b := appendFrame(nil, l.id, f)
	if _, err := current.WriteAt(b, current.size); err != nil {
		return err
	}
	if err := current.Datasync(); err != nil {
		return err // the next Put writes it again: that it synced later would say nothing
	}
	l.wrote(current, f, len(b))
	return nil
}

// fits returns the file that a slot may be written to.
func (l *Log) fits(slot, epoch uint64) (*file, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.removed:
		return nil, fmt.Errorf("%s: %w", l.dir, front.ErrNoLog)
	case slot <= l.last:
		return nil, front.ErrTaken
	case slot > l.last+1:
		return nil, fmt.Errorf("%s: %w: it ends with slot %d, and had slot %d", l.dir, front.ErrBehind, l.last, slot-1)
	case epoch < l.epoch:
		return nil, fmt.Errorf("%s: slot %d: epoch %d is over, this is %d", l.dir, slot, epoch, l.epoch)
	}
	return l.files[len(l.files)-1], nil
}

// wrote notes a frame that is durable at the end of a file.
func (l *Log) wrote(x *file, f *frame, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry{x, x.size, n})
	x.size += int64(n)
	x.last, l.last, l.epoch = f.slot, f.slot, f.epoch
}

// newFile begins a file behind the last slot that is durable, with a frame or without.
func (l *Log) newFile(f *frame) error {
	l.number++
	path := filepath.Join(l.dir, fmt.Sprintf("%010d", l.number))
	opened, err := l.place.fs.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	x := &file{File: opened, path: path, number: l.number, size: headLen, last: l.last}
	var b []byte
	if f != nil {
		b = appendFrame(nil, l.id, f)
	}
	if err := l.fill(x, b); err != nil {
		return errors.Join(err, x.Close())
	}
	l.mu.Lock()
	l.files = append(l.files, x)
	l.mu.Unlock()
	if f != nil {
		l.wrote(x, f, len(b))
	}
	return nil
}

// fill makes a new file with a frame durable. The head comes last: with a head the file counts, and
// what earlier ones have in its place does not.
func (l *Log) fill(x *file, frame []byte) error {
	if len(frame) > 0 {
		if _, err := x.WriteAt(frame, headLen); err != nil {
			return err
		}
		if err := x.Datasync(); err != nil {
			return err
		}
	}
	if _, err := x.WriteAt(appendHead(nil, l.id, l.last), 0); err != nil {
		return err
	}
	if err := x.Sync(); err != nil {
		return err
	}
	return l.place.fs.SyncDir(l.dir)
}

// Get implements front.Log.
func (l *Log) Get(_ context.Context, slot uint64) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slot <= l.first || slot > l.last {
		return nil, front.ErrNone
	}
	e := l.entries[slot-l.first-1]
	b := make([]byte, e.len)
	if _, err := e.file.ReadAt(b, e.off); err != nil {
		return nil, err
	}
	f, _, err := readFrame(b, l.id)
	if err != nil || f.slot != slot {
		return nil, &zodb.CorruptError{File: e.file.path, Record: "slot " + strconv.FormatUint(slot, 10), Offset: e.off, Err: errFrame}
	}
	return f.object, nil
}

// Last implements front.Log.
func (l *Log) Last(context.Context) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, nil
}

// Trim implements front.Log. Whole files are removed, the oldest first, so that what is found
// again after a crash has no gap. The last one stays: it tells which slot was the last.
func (l *Log) Trim(_ context.Context, upTo uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.files) > 1 && l.files[0].last <= upTo {
		x := l.files[0]
		if err := errors.Join(x.Close(), l.place.fs.Remove(x.path)); err != nil {
			return err
		}
		l.files = l.files[1:]
		l.entries = slices.Clone(l.entries[max(x.last, l.first)-l.first:])
		l.first = max(x.last, l.first)
		if err := l.place.fs.SyncDir(l.dir); err != nil {
			return err
		}
	}
	return nil
}

// Remove implements front.Log. A name that says so comes first: a part of a log is none.
func (l *Log) Remove(context.Context) error {
	l.putMu.Lock()
	defer l.putMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.removed {
		return nil
	}
	l.removed = true
	l.first, l.entries = l.last, nil
	if err := l.closeFiles(); err != nil {
		return err
	}
	left := l.dir + leftSuffix
	if err := l.place.fs.Rename(l.dir, left); err != nil {
		return err
	}
	if err := l.place.fs.SyncDir(l.place.dir); err != nil {
		return err
	}
	return l.place.removeAll(left)
}

// Close implements front.Log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closeFiles()
}

func (l *Log) closeFiles() (err error) {
	for _, x := range l.files {
		err = errors.Join(err, x.Close())
	}
	l.files = nil
	l.removed = true // nothing can be put any more
	return err
}

// load reads all files of the log.
func (l *Log) load() error {
	entries, err := l.place.fs.ReadDir(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return front.ErrNoLog
	}
	if err != nil {
		return err
	}
	var numbers []uint64
	for _, x := range entries {
		n, err := strconv.ParseUint(x.Name(), 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %s is no file of a log", l.dir, x.Name())
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if err := l.loadFile(n); err != nil {
			return err
		}
	}
	if len(l.files) == 0 {
		return front.ErrNoLog
	}
	return nil
}

// loadFile reads the next file. What it begins behind is what was durable when it was made; if an
// earlier one has more, that was never answered.
func (l *Log) loadFile(n uint64) error {
	l.number = n
	path := filepath.Join(l.dir, fmt.Sprintf("%010d", n))
	opened, err := l.place.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	x := &file{File: opened, path: path, number: n, size: headLen}
	b, err := io.ReadAll(opened)
	if err != nil {
		return errors.Join(err, x.Close())
	}
	behind, ok := readHead(b, l.id)
	if !ok {
		return errors.Join(l.neverFinished(x, b), x.Close())
	}
	if len(l.files) == 0 {
		l.first, l.last = behind, behind
	}
	if behind < l.first || behind > l.last {
		err := fmt.Errorf("it begins behind slot %d, and those before it have the slots from %d to %d", behind, l.first+1, l.last)
		return errors.Join(corrupt(x, 0, err), x.Close())
	}
	l.cutTo(behind)
	x.last = behind
	l.files = append(l.files, x)
	return l.loadFrames(x, b)
}

// neverFinished makes sure that a file whose head cannot be read is one that was never finished: it
// has at most the slot that was to be written then.
func (l *Log) neverFinished(x *file, b []byte) error {
	next := l.last + 1
	if len(l.files) == 0 { // the first one is made without a slot
		next = 0
	}
	if hasFrame(b, l.id, next) {
		return corrupt(x, 0, errors.New("its head is damaged"))
	}
	return nil
}

func corrupt(x *file, off int64, err error) error {
	return &zodb.CorruptError{File: x.path, Record: "log", Offset: off, Err: err}
}

// cutTo forgets what comes after a slot.
func (l *Log) cutTo(slot uint64) {
	l.entries = l.entries[:slot-l.first]
	l.last = slot
	for _, x := range l.files {
		x.last = min(x.last, slot)
	}
}

func (l *Log) loadFrames(x *file, b []byte) error {
	for x.size < int64(len(b)) {
		f, n, err := readFrame(b[x.size:], l.id)
		if err == nil && f.slot != x.last+1 {
			return corrupt(x, x.size, fmt.Errorf("slot %d comes after slot %d", f.slot, x.last))
		}
		if err != nil {
			if hasFrame(b[x.size:], l.id, x.last+1) {
				return corrupt(x, x.size, fmt.Errorf("slot %d is damaged, and later ones are there", x.last+1))
			}
			return nil // a Put that was never answered
		}
		l.wrote(x, &f, n)
	}
	return nil
}

// settle makes durable what was found, and begins a file: of the last slot it is not known
// whether it was synced.
func (l *Log) settle() error {
	if l.last == l.first {
		return l.newFile(nil)
	}
	object, err := l.Get(context.Background(), l.last)
	if err != nil {
		return err
	}
	f := &frame{slot: l.last, epoch: l.epoch, object: object}
	l.cutTo(l.last - 1)
	return l.newFile(f)
}
