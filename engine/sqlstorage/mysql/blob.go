package mysql

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/zodb"
)

// chunkSize is RelStorage's default for blob-chunk-size. Chunks of any size are read.
const chunkSize = 1 << 20

func writeBlobs(ctx context.Context, s *statements, b *sqlstorage.Batch) error {
	for blob := range b.Blobs() {
		if err := writeBlob(ctx, s, blob); err != nil {
			return fmt.Errorf("the blob of object %v: %w", zodb.OID(blob.OID), err)
		}
	}
	return nil
}

// writeBlob writes the chunks of a blob, numbered from 0. An empty blob has one.
func writeBlob(ctx context.Context, s *statements, blob sqlstorage.BlobRow) error {
	f, err := os.Open(blob.Path)
	if err != nil {
		return &readError{err}
	}
	defer f.Close()
	size := min(chunkSize, s.conn.info.packet/2)
	for num := int64(0); ; num++ {
		chunk := make([]byte, size) // kept until it is sent
		n, err := io.ReadFull(f, chunk)
		end := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !end {
			return &readError{err}
		}
		if n == 0 && num > 0 {
			return nil
		}
		if err := s.add(ctx, insertChunk, blob.OID, blob.TID, num, chunk[:n]); err != nil || end {
			return err
		}
	}
}

// ReadBlob implements sqlstorage.Dialect.
func (d *DB) ReadBlob(ctx context.Context, _ sqlstorage.Form, oid, tid int64, w io.Writer) error {
	return sqlstorage.ReadChunks(ctx, d, oid, tid, w)
}
