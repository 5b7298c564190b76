package before_test

import (
	"context"
	"testing"

	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/storagetest/bases"
	"github.com/zaridb/zari/wrapper/before"
	"github.com/zaridb/zari/zodb"
)

// media are what views are tested on.
var media = map[string]bases.Medium{"memory": bases.Memory(bases.Options{}), "file": bases.File(bases.Options{})}

// beside is written at the base and read through a view whose end does not come,
// so that every test that reads anything goes through the view.
type beside struct {
	*before.Storage
	base zodb.Storage
}

func (b beside) Info() zodb.Info { return b.base.Info() }

func (b beside) Begin(ctx context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	return b.base.Begin(ctx, meta)
}

func (b beside) NewOIDs(ctx context.Context, n int) ([]zodb.OID, error) {
	return b.base.NewOIDs(ctx, n)
}

func (b beside) As(target any) bool {
	switch p := target.(type) {
	case *zodb.Packer, *zodb.Outcomer, *zodb.Appender:
		return zodb.PassOn(b.base, target)
	case *zodb.BlobStore:
		return zodb.Adapt(b.base, p, func(base zodb.BlobStore) zodb.BlobStore {
			view, ok := zodb.As[zodb.BlobStore](b.Storage)
			if !ok {
				panic("the view has no blobs")
			}
			return blobs{base, view}
		})
	}
	return b.Storage.As(target)
}

type blobs struct {
	zodb.BlobStore
	view zodb.BlobStore
}

func (b blobs) LoadBlob(ctx context.Context, oid zodb.OID, serial zodb.TID) (string, error) {
	return b.view.LoadBlob(ctx, oid, serial)
}

// view opens a view that the test does not expect to fail.
func view(t testing.TB, base zodb.Storage, o before.Options) *before.Storage {
	t.Helper()
	v, err := before.New(context.Background(), base, o)
	if err != nil {
		t.Fatalf("before.New: %v", err)
	}
	return v
}

func TestContract(t *testing.T) {
	for name, medium := range media {
		t.Run(name, func(t *testing.T) {
			h := bases.Harness(medium, func(t testing.TB, base zodb.Storage) zodb.Storage {
				return beside{view(t, base, before.Options{Before: zodb.MaxTID}), base}
			})
			h.ReadOnly = func(t testing.TB, s zodb.Storage) zodb.Storage {
				return view(t, s.(beside).base, before.Options{Before: zodb.MaxTID})
			}
			storagetest.Run(t, h)
		})
	}
}
