package readonly_test

import (
	"context"
	"errors"
	"testing"

	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/storagetest/bases"
	"github.com/zaridb/zari/wrapper/readonly"
	"github.com/zaridb/zari/zodb"
)

// media are what the wrapper is tested on.
var media = map[string]bases.Medium{"memory": bases.Memory(bases.Options{}), "file": bases.File(bases.Options{})}

// beside is written at the base and read through the wrapper, so that every test
// that reads anything goes through that.
type beside struct {
	zodb.Storage // the wrapper
	base         zodb.Storage
}

func (b beside) Info() zodb.Info { return b.base.Info() }

func (b beside) Begin(ctx context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	return b.base.Begin(ctx, meta)
}

func (b beside) NewOIDs(ctx context.Context, n int) ([]zodb.OID, error) {
	return b.base.NewOIDs(ctx, n)
}

func (b beside) As(target any) bool {
	switch target.(type) {
	case *zodb.Packer, *zodb.BlobStore:
		return zodb.PassOn(b.base, target)
	}
	return zodb.PassOn(b.Storage, target)
}

func TestContract(t *testing.T) {
	for name, medium := range media {
		t.Run(name, func(t *testing.T) {
			h := bases.Harness(medium, func(_ testing.TB, base zodb.Storage) zodb.Storage {
				return beside{readonly.New(base), base}
			})
			h.ReadOnly = func(_ testing.TB, s zodb.Storage) zodb.Storage { return readonly.New(s.(beside).base) }
			storagetest.Run(t, h)
		})
	}
}

func TestBlobs(t *testing.T) {
	s := readonly.New(media["memory"](t)(t, false))
	defer s.Close()
	b, ok := zodb.As[zodb.BlobStore](s)
	if !ok {
		t.Fatal("no BlobStore")
	}
	if _, err := b.BlobTempDir(); !errors.Is(err, zodb.ErrReadOnly) {
		t.Errorf("BlobTempDir: %v", err)
	}
	if _, err := b.BlobDir(1); !errors.Is(err, zodb.ErrReadOnly) {
		t.Errorf("BlobDir: %v", err)
	}
}
