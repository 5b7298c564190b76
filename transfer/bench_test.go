package transfer_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/transfer"
)

// BenchmarkCopy copies the Data.fs and blobs of the folder ZARI_COPY_SOURCE.
func BenchmarkCopy(b *testing.B) {
	dir := os.Getenv("ZARI_COPY_SOURCE")
	if dir == "" {
		b.Skip("ZARI_COPY_SOURCE names no folder with a Data.fs")
	}
	for b.Loop() {
		engine, err := filestorage.Open(filestorage.Options{Path: filepath.Join(dir, "Data.fs"), BlobDir: filepath.Join(dir, "blobs"), ReadOnly: true})
		if err != nil {
			b.Fatal(err)
		}
		src, dst := openStore(b, engine), file(b, b.TempDir(), false)
		r, err := transfer.Copy(b.Context(), dst, src, transfer.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := dst.Close(); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(r.Bytes + r.BlobBytes)
	}
}
