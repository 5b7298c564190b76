package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/zaridb/zari/bench/harness"
	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

const (
	perTxn  = 100 // objects
	fanout  = 32  // of the tree of objects that are reachable
	perBlob = 1000
)

// maker writes a database. Object 0 is the root of a tree of all even oids; the odd
// ones hang together too, and refer to even ones, but nothing refers to them. Every
// thousandth object is a blob. Then one in ten of the objects is written again, the
// pack time passes, and one in a hundred is written once more, all of these even:
// Zari keeps what is referred to by what was written after the pack time, and
// Python does not.
type maker struct {
	objects, size int
	blobs         *blobs.Dir
	rng           *rand.Rand
	file          *harness.DataFile
}

// made is a database that was made.
type made struct {
	objects int
	at      time.Time // the pack time
	bytes   int64
}

func makeData(path, blobDir string, objects, size int) (*made, error) {
	dir, err := blobs.Open(vfs.NoSync(vfs.OS()), blobDir, "")
	if err != nil {
		return nil, err
	}
	file, err := harness.CreateDataFile(path, objects, time.Now().Add(-30*24*time.Hour))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m := &maker{objects: objects, size: size, blobs: dir, rng: rand.New(rand.NewPCG(1, 1)), file: file}
	if err := m.writeEvery(1); err != nil {
		return nil, err
	}
	if err := m.writeEvery(10); err != nil {
		return nil, err
	}
	at := file.TID.Time().Add(500 * time.Millisecond)
	if err := m.writeEvery(100); err != nil {
		return nil, err
	}
	return &made{objects: objects, at: at, bytes: file.Size}, file.Close()
}

// writeEvery writes every nth object.
func (m *maker) writeEvery(n int) error {
	var oids []int
	for oid := 0; oid < m.objects; oid += n {
		pick := oid
		if n == 10 {
			pick += m.rng.IntN(min(n, m.objects-oid))
		}
		if n == 1 || !isBlob(pick) {
			oids = append(oids, pick)
		}
		if len(oids) == perTxn {
			if err := m.write(oids); err != nil {
				return err
			}
			oids = oids[:0]
		}
	}
	if len(oids) == 0 {
		return nil
	}
	return m.write(oids)
}

func isBlob(oid int) bool { return oid%perBlob == perBlob/2 || oid%perBlob == perBlob/2+1 }

// write writes a transaction.
func (m *maker) write(oids []int) error {
	m.file.Begin(time.Second)
	for _, oid := range oids {
		data, err := m.record(oid)
		if err != nil {
			return err
		}
		m.file.Store(zodb.OID(oid), data)
	}
	m.file.Finish()
	return nil
}

var (
	mapping = &pickle.Global{Module: "persistent.mapping", Name: "PersistentMapping"}
	blob    = &pickle.Global{Module: "ZODB.blob", Name: "Blob"}
)

// record makes the state of an object, and the file of a blob.
func (m *maker) record(oid int) ([]byte, error) {
	if isBlob(oid) {
		if err := m.placeBlob(oid); err != nil {
			return nil, err
		}
		return pickle.EncodeRecord(blob, nil)
	}
	var kv []any
	for _, ref := range m.references(oid) {
		class := mapping
		if isBlob(ref) {
			class = blob
		}
		b := zodb.OID(ref).Bytes()
		kv = append(kv, fmt.Sprint(ref), &pickle.Ref{ID: pickle.Tuple{b[:], class}})
	}
	text := make([]byte, max(10, m.size-45*len(kv)/2-100))
	for i := range text {
		text[i] = byte('a' + m.rng.IntN(26))
	}
	return pickle.EncodeRecord(mapping, pickle.NewDict("data", pickle.NewDict(append(kv, "text", string(text))...)))
}

// references returns what an object refers to: its children in the tree of even
// oids; or an odd one before it, and an even one.
func (m *maker) references(oid int) (refs []int) {
	if oid%2 == 1 {
		return []int{m.rng.IntN(oid)/2*2 + 1, m.rng.IntN(m.objects) / 2 * 2}
	}
	first := oid/2*fanout + 1
	for child := first; child < first+fanout && 2*child < m.objects; child++ {
		refs = append(refs, 2*child)
	}
	return refs
}

func (m *maker) placeBlob(oid int) error {
	dir, err := m.blobs.TempDir()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "made-")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f, "the blob of object %d\n", oid); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return m.blobs.Place(f.Name(), zodb.OID(oid), m.file.TID)
}
