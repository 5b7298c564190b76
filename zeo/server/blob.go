package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// blobChunk is how much of a blob one callback carries, as in Python's server.
const blobChunk = 59000

// blobUpload is a blob that a client is sending. A connection sends one at a time.
type blobUpload struct{ file *os.File }

// discard removes what was received. A nil upload is fine.
func (b *blobUpload) discard() {
	if b != nil {
		b.file.Close()
		os.Remove(b.file.Name())
	}
}

func errNoBlobs() error { return typeError("Blobs are not supported") }

func storeBlobStart(x *session, m *wire.Message) (any, error) {
	if x.readOnly {
		return nil, zodb.ErrReadOnly
	}
	if x.blobFile != nil {
		return nil, errors.New("another blob is being sent")
	}
	s, ok := zodb.As[zodb.BlobStore](x.hub.storage)
	if !ok {
		return nil, errNoBlobs()
	}
	dir, err := s.BlobTempDir()
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "upload-*.tmp")
	if err != nil {
		return nil, err
	}
	x.blobFile = &blobUpload{f}
	return nil, nil
}

func storeBlobChunk(x *session, m *wire.Message) (any, error) {
	chunk, err := m.TextOrBytes(0)
	if err != nil {
		return nil, err
	}
	if x.blobFile == nil {
		return nil, errors.New("a piece of a blob before its start")
	}
	_, err = x.blobFile.file.Write(chunk)
	return nil, err
}

// storeBlobEnd(oid, serial, data, id)
func storeBlobEnd(x *session, m *wire.Message) (any, error) {
	return nil, x.endBlob(func(path string) error { return x.storeBlob(m, 3, path) })
}

// restoreBlobEnd(oid, data, prev_txn, id) is to storeBlobEnd as restorea is to storea.
// Only Zari's client calls it, where get_info says zari_restore_blobs.
func restoreBlobEnd(x *session, m *wire.Message) (any, error) {
	return nil, x.endBlob(func(path string) error {
		t, err := x.current(m, 3)
		if err != nil {
			return err
		}
		b, ok := zodb.As[zodb.BlobTxn](t.txn)
		if !ok {
			return errNoBlobs()
		}
		oid, err := m.OID(0)
		if err != nil {
			return err
		}
		data, err := m.TextOrBytes(1)
		if err != nil {
			return err
		}
		from, err := m.OptTID(2)
		if err != nil {
			return err
		}
		return b.RestoreBlob(t.ctx, oid, data, from, path)
	})
}

// endBlob hands the file that was received to use.
func (x *session) endBlob(use func(path string) error) error {
	b := x.blobFile
	x.blobFile = nil
	if b == nil {
		return errors.New("the end of a blob before its start")
	}
	if err := b.file.Close(); err != nil {
		b.discard()
		return err
	}
	if err := use(b.file.Name()); err != nil {
		os.Remove(b.file.Name())
		return err
	}
	return nil
}

// storeBlob buffers (oid, serial, data, ...) with the file, in the transaction
// that argument number idArg names.
func (x *session) storeBlob(m *wire.Message, idArg int, path string) error {
	t, err := x.current(m, idArg)
	if err != nil {
		return err
	}
	b, ok := zodb.As[zodb.BlobTxn](t.txn)
	if !ok {
		return errNoBlobs()
	}
	oid, serial, err := oidSerial(m)
	if err != nil {
		return err
	}
	data, err := m.TextOrBytes(2)
	if err != nil {
		return err
	}
	return b.StoreBlob(t.ctx, oid, serial, data, path)
}

// storeBlobShared(oid, serial, data, filename, id): the client has left the file
// in the directory of the object.
func storeBlobShared(x *session, m *wire.Message) (any, error) {
	oid, err := m.OID(0)
	if err != nil {
		return nil, err
	}
	name, err := m.Text(3)
	if err != nil {
		return nil, err
	}
	if !sharedBlobName(name) {
		x.log().Log(x.ctx, LevelCritical, "a client names a blob file outside of its place", "file", name)
		return nil, fmt.Errorf("bad blob file name %q", name)
	}
	s, ok := zodb.As[zodb.BlobStore](x.hub.storage)
	if !ok {
		return nil, errNoBlobs()
	}
	dir, err := s.BlobDir(oid)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("blob file %q is not a file", name)
	}
	return nil, x.storeBlob(m, 4, path)
}

// sharedBlobName reports whether name can be one that a client made: no way out
// of the directory, and "x.tmp" or "x.tmp" with one more character.
func sharedBlobName(name string) bool {
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return false
	}
	return strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name[:len(name)-1], ".tmp")
}

// sendBlob(oid, tid) sends the file in callbacks, and then the answer None.
func sendBlob(x *session, m *wire.Message) (any, error) {
	oid, serial, err := oidSerial(m)
	if err != nil {
		return nil, err
	}
	s, ok := zodb.As[zodb.BlobStore](x.hub.storage)
	if !ok {
		return nil, errNoBlobs()
	}
	path, err := s.LoadBlob(x.ctx, oid, serial)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return nil, x.streamBlob(f, oid, serial)
}

func (x *session) streamBlob(f io.Reader, oid zodb.OID, tid zodb.TID) error {
	if err := x.callback("receiveBlobStart", oid, tid); err != nil {
		return err
	}
	buf := make([]byte, blobChunk)
	for {
		n, err := io.ReadFull(f, buf)
		if n > 0 {
			x.out.add(func(dst []byte) []byte { return x.codec.AppendBlobChunk(dst, oid, tid, buf[:n]) })
			x.out.flushAndWait()
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return x.callback("receiveBlobStop", oid, tid)
		}
		if err != nil {
			x.close(err) // the client has half a blob, and no message can take it back
			return err
		}
	}
}

// callback queues a one-way message to the client.
func (x *session) callback(name string, args ...any) error {
	frame, err := x.codec.AppendOneWay(nil, name, args...)
	if err != nil {
		return err
	}
	x.out.add(func(dst []byte) []byte { return append(dst, frame...) })
	return nil
}
