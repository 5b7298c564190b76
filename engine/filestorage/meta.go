package filestorage

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// The file beside Data.fs has two lines: a JSON object, and the CRC-32C of the
// first line in hexadecimal.
//
//	{"format":1,"uuid":"...","epoch":0,"tid_floor":"0000000000000000","next_oid":"0000000000004000"}
//	5f3a90c1

// metaFile is the JSON object.
type metaFile struct {
	Format   int    `json:"format"`
	UUID     string `json:"uuid"`
	Epoch    uint64 `json:"epoch"`
	TIDFloor hex64  `json:"tid_floor"`
	NextOID  hex64  `json:"next_oid"`
}

// hex64 is a number in hexadecimal: JSON's own lose precision in many readers.
type hex64 uint64

func (h hex64) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%016x", uint64(h)), nil }

func (h *hex64) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "%x", (*uint64)(h))
	return err
}

const (
	metaFormat  = 1
	maxMetaFile = 1 << 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeMeta(m store.Meta) ([]byte, error) {
	line, err := json.Marshal(metaFile{
		Format: metaFormat, UUID: hex.EncodeToString(m.UUID[:]), Epoch: m.Epoch,
		TIDFloor: hex64(m.TIDFloor), NextOID: hex64(m.NextOID),
	})
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(line, "\n%08x\n", crc32.Checksum(line, castagnoli)), nil
}

func decodeMeta(b []byte) (m store.Meta, err error) {
	line, sum, _ := bytes.Cut(b, []byte("\n"))
	if want := fmt.Appendf(nil, "%08x\n", crc32.Checksum(line, castagnoli)); !bytes.Equal(sum, want) {
		return m, errors.New("its checksum is wrong")
	}
	var f metaFile
	if err := json.Unmarshal(line, &f); err != nil {
		return m, err
	}
	if f.Format != metaFormat {
		return m, fmt.Errorf("its format is %d; this version knows %d", f.Format, metaFormat)
	}
	uuid, err := hex.DecodeString(f.UUID)
	if err != nil || len(uuid) != len(m.UUID) {
		return m, errors.New("its uuid is not one")
	}
	m = store.Meta{UUID: [16]byte(uuid), Epoch: f.Epoch, TIDFloor: zodb.TID(f.TIDFloor), NextOID: zodb.OID(f.NextOID)}
	return m, nil
}

func (s *Storage) metaPath() string { return s.path + ".zari" }

// readMeta reads the file at open. An absent file counts as none, and so does
// garbage; a file that cannot be read does not, for it may hold what must not be
// forgotten.
func (s *Storage) readMeta() error {
	if s.opts.Create {
		return nil
	}
	b, err := s.loadMeta()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", s.metaPath(), err)
	}
	m, err := decodeMeta(b)
	if err != nil {
		s.opts.Logger.Warn("the file with the storage's identity cannot be used and will be made anew; no data are lost",
			"file", s.metaPath(), "reason", err)
		return nil
	}
	s.meta = m
	return nil
}

func (s *Storage) loadMeta() ([]byte, error) {
	f, err := s.fs.OpenFile(s.metaPath(), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxMetaFile))
}

// Meta returns what is in the file beside Data.fs, zero if it was lost.
func (s *Storage) Meta(ctx context.Context) (store.Meta, error) {
	s.metaMu.Lock()
	defer s.metaMu.Unlock()
	return s.meta, ctx.Err()
}

func (s *Storage) writeMeta(m store.Meta) error {
	b, err := encodeMeta(m)
	if err != nil {
		return err
	}
	if err := s.replaceFile(s.metaPath(), s.metaPath()+".new", b); err != nil {
		return fmt.Errorf("writing %s: %w", s.metaPath(), err)
	}
	s.metaMu.Lock()
	defer s.metaMu.Unlock()
	s.meta = m
	return nil
}
