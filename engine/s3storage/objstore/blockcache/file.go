package blockcache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

const (
	magic      = "ZBC1"
	headerSize = 18
	maxBlock   = 64 << 20 // bytes; larger ones are not kept
	maxName    = 1<<16 - 1
	touchAge   = 10 * time.Minute
	tmpPrefix  = ".tmp-"
)

var errCorrupt = errors.New("not the block that it should be")

// block names a block.
type block struct {
	name string // as in the file
	file string // relative to the directory
	hash hash   // of the name
}

type hash [16]byte

func blockOf(space, key string, r objstore.Range) block {
	b := make([]byte, 0, 128)
	b = append(append(b, space...), 0)
	b = append(append(b, key...), 0)
	b = append(strconv.AppendInt(b, r.Off, 10), 0)
	b = strconv.AppendInt(b, r.Len, 10)
	sum := sha256.Sum256(b)
	h := hash(sum[:16])
	file := make([]byte, 0, 2*len(h)+1)
	file = append(hex.AppendEncode(file, h[:1]), '/')
	return block{string(b), string(hex.AppendEncode(file, h[1:])), h}
}

// whole is a set of files that this process has written, or read and found good. Files are
// never changed; what a crash has torn was torn before this process began.
type whole struct {
	mu    sync.Mutex
	files map[hash]struct{}
}

const maxWhole = 1 << 20

func (w *whole) has(h hash) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.files[h]
	return ok
}

func (w *whole) add(h hash) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files == nil || len(w.files) >= maxWhole {
		w.files = make(map[hash]struct{})
	}
	w.files[h] = struct{}{}
}

func (w *whole) remove(h hash) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.files, h)
}

// appendFile appends the file of a block.
func appendFile(dst []byte, name string, data []byte) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, make([]byte, 8)...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(name)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(data)))
	dst = append(dst, name...)
	dst = append(dst, data...)
	binary.BigEndian.PutUint64(dst[start+4:], xxhash.Sum64(dst[start+12:]))
	return dst
}

// parseFile returns the data of the block with this name, a part of file.
func parseFile(file []byte, name string) ([]byte, error) {
	size, ok := parseHeader(file, name)
	n := headerSize + len(name)
	if !ok || int64(len(file)) != int64(n)+size || xxhash.Sum64(file[12:]) != binary.BigEndian.Uint64(file[4:]) {
		return nil, errCorrupt
	}
	return file[n:], nil
}

// parseHeader returns the length of the data of the block with this name, if that is what
// begins like this.
func parseHeader(b []byte, name string) (size int64, ok bool) {
	if len(b) < headerSize+len(name) || string(b[:4]) != magic || int(binary.BigEndian.Uint16(b[12:])) != len(name) {
		return 0, false
	}
	return int64(binary.BigEndian.Uint32(b[14:])), string(b[headerSize:headerSize+len(name)]) == name
}

// readFile reads a block. Errors: fs.ErrNotExist, errCorrupt, any other.
func (c *Cache) readFile(b block) ([]byte, error) {
	path := filepath.Join(c.opts.Dir, b.file)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > maxBlock+headerSize+maxName {
		return nil, errCorrupt
	}
	content := make([]byte, st.Size())
	if _, err := io.ReadFull(f, content); err != nil {
		return nil, errCorrupt // it became shorter meanwhile
	}
	data, err := parseFile(content, b.name)
	if err == nil {
		touch(path, st)
	}
	return data, err
}

// touch notes that a file is used.
func touch(path string, st fs.FileInfo) {
	if now := time.Now(); now.Sub(st.ModTime()) > touchAge {
		_ = os.Chtimes(path, now, now)
	}
}

// openFile opens the file of a block that was found whole before, if it is still that
// block's, and as long as it says.
func (c *Cache) openFile(b block, id blockID) (*openFile, error) {
	path := filepath.Join(c.opts.Dir, b.file)
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &openFile{id: id, path: path, file: file, data: int64(headerSize + len(b.name))}
	if f.info, err = file.Stat(); err == nil {
		f.size, err = readHeader(file, b.name, f.info.Size())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return f, nil
}

// readHeader reads the header of a file of some bytes, and returns the length of its data.
func readHeader(file io.Reader, name string, size int64) (int64, error) {
	head := make([]byte, headerSize+len(name))
	if _, err := io.ReadFull(file, head); err != nil {
		return 0, errCorrupt
	}
	n, ok := parseHeader(head, name)
	if !ok || size != int64(len(head))+n {
		return 0, errCorrupt
	}
	return n, nil
}

// writeFile writes a block, and returns how many bytes its file has.
func (c *Cache) writeFile(b block, data []byte) (int64, error) {
	content := appendFile(make([]byte, 0, headerSize+len(b.name)+len(data)), b.name, data)
	path := filepath.Join(c.opts.Dir, b.file)
	err := writeWhole(path, content)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = writeWhole(path, content)
		}
	}
	return int64(len(content)), err
}

// writeWhole writes a file beside path and gives it its name.
func writeWhole(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), tmpPrefix)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// isTmp reports whether a file was on its way.
func isTmp(name string) bool { return strings.HasPrefix(name, tmpPrefix) }
