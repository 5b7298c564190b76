package blockcache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
}

func blockOf(space, key string, r objstore.Range) block {
	name := fmt.Sprintf("%s\x00%s\x00%d\x00%d", space, key, r.Off, r.Len)
	sum := sha256.Sum256([]byte(name))
	hash := hex.EncodeToString(sum[:16])
	return block{name, hash[:2] + "/" + hash[2:]}
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
	if len(file) < headerSize || string(file[:4]) != magic {
		return nil, errCorrupt
	}
	n := int(binary.BigEndian.Uint16(file[12:]))
	size := int64(binary.BigEndian.Uint32(file[14:]))
	if int64(len(file)) != int64(headerSize+n)+size || string(file[headerSize:headerSize+n]) != name {
		return nil, errCorrupt
	}
	if xxhash.Sum64(file[12:]) != binary.BigEndian.Uint64(file[4:]) {
		return nil, errCorrupt
	}
	return file[headerSize+n:], nil
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
	if err == nil && time.Since(st.ModTime()) > touchAge {
		now := time.Now()
		_ = os.Chtimes(path, now, now)
	}
	return data, err
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
