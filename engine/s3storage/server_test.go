package s3storage_test

import (
	"context"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/bucket"
	"github.com/zaridb/zari/engine/s3storage/objstore/objstoretest"
	"github.com/zaridb/zari/internal/tests3"
	"github.com/zaridb/zari/storagetest"
)

// The contract over a real S3 server, and below a new prefix of the bucket in
// ZARI_TEST_S3_URL, which costs some cents.
func TestContractServer(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Run("local", func(t *testing.T) { serverContract(t, newBucket(tests3.Start(t))) })
	t.Run("real", func(t *testing.T) {
		base, rest, err := bucket.ParseURL(tests3.RealURL(t))
		if err != nil || len(rest) > 0 {
			t.Fatalf("ZARI_TEST_S3_URL: %v %v", err, rest)
		}
		serverContract(t, func(t testing.TB) bucket.Options {
			o := base
			o.Prefix += "/test-" + objstore.Nonce()
			t.Cleanup(func() { objstoretest.Empty(t, openBucket(t, o)) })
			return o
		})
	})
}

func newBucket(server *tests3.Server) func(testing.TB) bucket.Options {
	return func(t testing.TB) bucket.Options {
		return bucket.Options{
			Bucket: server.Bucket(t), Prefix: "database", Endpoint: server.Endpoint,
			AccessKey: tests3.AccessKey, SecretKey: tests3.SecretKey,
		}
	}
}

func openBucket(t testing.TB, o bucket.Options) objstore.Store {
	s, err := bucket.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serverContract runs the contract in places that place makes.
func serverContract(t *testing.T, place func(t testing.TB) bucket.Options) {
	h := harness(func(t testing.TB) func(testing.TB) objstore.Store {
		o := place(t)
		return func(t testing.TB) objstore.Store { return openBucket(t, o) }
	}, s3storage.Options{})
	h.Crash = nil // a client of a server cannot be cut off here
	h.Patience = 2 * time.Minute
	storagetest.Run(t, h)
}
