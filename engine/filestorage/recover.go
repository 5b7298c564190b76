package filestorage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// sector is the smallest piece that a disk writes as a whole.
const sector = 512

// tornAt tells whether the bytes from pos on, where no whole transaction could
// be read, are what an interrupted append left, or damage.
//
// An append is interrupted while its first transaction is marked as unfinished,
// and the disk may have kept any of its sectors. So either the mark is there; or
// the sector of the mark was never written, and the file has zeros in its place;
// or the file ends too early. In that last case nothing that follows may look
// like a good end of a file: else it is a damaged length in the middle.
func tornAt(f io.ReaderAt, pos, size int64, last zodb.TID) (bool, error) {
	if size-pos < datafs.TxnHeaderSize {
		return true, nil
	}
	var b [datafs.TxnHeaderSize]byte
	if n, err := f.ReadAt(b[:], pos); n < len(b) {
		return false, datafs.ReadError("data file", "transaction header", pos, err)
	}
	h := datafs.DecodeTxnHeader(b[:])
	switch {
	case h.Status == datafs.Pending || neverWritten(b[:], pos):
		return true, nil
	case h.Len < h.HeaderLen() || h.Len > size-pos-datafs.TrailerSize:
		whole, err := endsWhole(f, pos, size, last)
		return !whole, err
	}
	return false, nil
}

// neverWritten reports whether the part of the header b that shares a sector
// with its status is all zero.
func neverWritten(b []byte, pos int64) bool {
	status := pos + datafs.StatusOffset
	from := max(pos, status-status%sector)
	to := min(pos+int64(len(b)), status-status%sector+sector)
	for _, c := range b[from-pos : to-pos] {
		if c != 0 {
			return false
		}
	}
	return true
}

// endsWhole reports whether the file ends with a whole transaction that begins
// behind pos.
func endsWhole(f io.ReaderAt, pos, size int64, last zodb.TID) (bool, error) {
	var b [datafs.TxnHeaderSize]byte
	end := size - datafs.TrailerSize
	room := end - pos - datafs.TxnHeaderSize
	if room < datafs.TxnHeaderSize {
		return false, nil
	}
	if n, err := f.ReadAt(b[:datafs.TrailerSize], end); n < datafs.TrailerSize {
		return false, datafs.ReadError("data file", "transaction trailer", end, err)
	}
	length := binary.BigEndian.Uint64(b[:])
	if length < datafs.TxnHeaderSize || length > uint64(room) {
		return false, nil
	}
	start := end - int64(length)
	if n, err := f.ReadAt(b[:], start); n < len(b) {
		return false, datafs.ReadError("data file", "transaction header", start, err)
	}
	h := datafs.DecodeTxnHeader(b[:])
	return h.Len == int64(length) && h.TID > last && h.Check(start, size) == nil, nil
}

// cutTail cuts the file back to g.end and keeps what it cuts. Without the right
// to write it just leaves the tail alone.
func (s *Storage) cutTail(g *generation, size int64, why error) error {
	if s.opts.ReadOnly {
		s.opts.Logger.Warn("ignoring an unfinished transaction at the end of the file",
			"file", s.path, "offset", g.end, "bytes", size-g.end, "reason", why)
		return nil
	}
	kept, err := s.keepTail(g.file, g.end, size)
	if err != nil {
		return fmt.Errorf("keeping the unfinished end of %s: %w", s.path, err)
	}
	s.opts.Logger.Warn("cut an unfinished transaction off the end of the file",
		"file", s.path, "offset", g.end, "bytes", size-g.end, "kept in", kept, "reason", why)
	if err := s.w.Truncate(g.end); err != nil {
		return err
	}
	return s.w.Sync()
}

// keepTail copies a part of the data file to a new file, whose name it returns.
func (s *Storage) keepTail(f vfs.File, from, to int64) (name string, err error) {
	var out vfs.File
	for i := 0; ; i++ {
		name = fmt.Sprintf("%s.tr%d", s.path, i)
		out, err = s.fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	_, err = io.Copy(out, io.NewSectionReader(f, from, to-from))
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return "", noSpace(err)
	}
	return name, s.fs.SyncDir(filepath.Dir(s.path))
}

// recoverPack ends what an interrupted pack left undone. A pack of ours replaces
// the data file in one step; Python's moves the old file away before it puts the
// new one, which is whole by then, in its place.
func (s *Storage) recoverPack() error {
	for _, abandoned := range []string{s.packBlobsPath() + newList, s.packIndexPath()} {
		if err := ifExists(s.fs.Remove(abandoned)); err != nil {
			return err
		}
	}
	pack := s.path + ".pack"
	if _, err := s.fs.Stat(pack); err != nil {
		return ifExists(err)
	}
	_, noFile := s.fs.Stat(s.path)
	_, noOld := s.fs.Stat(s.path + ".old")
	if errors.Is(noFile, fs.ErrNotExist) && noOld == nil {
		s.opts.Logger.Warn("a pack was interrupted between its last two steps; finishing it", "file", s.path)
		if err := s.fs.Rename(pack, s.path); err != nil {
			return err
		}
		return s.fs.SyncDir(filepath.Dir(s.path))
	}
	return ifExists(s.fs.Remove(pack))
}

// ifExists drops the error that something is not there.
func ifExists(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
