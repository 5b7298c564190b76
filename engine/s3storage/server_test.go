package s3storage_test

import (
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/bucket"
	"github.com/zaridb/zari/internal/tests3"
	"github.com/zaridb/zari/storagetest"
)

// The contract over a real S3 server.
func TestContractServer(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	server := tests3.Start(t)
	h := harness(func(t testing.TB) func(testing.TB) objstore.Store {
		name := server.Bucket(t)
		return func(t testing.TB) objstore.Store {
			s, err := bucket.Open(t.Context(), bucket.Options{
				Bucket: name, Prefix: "database", Endpoint: server.Endpoint,
				AccessKey: tests3.AccessKey, SecretKey: tests3.SecretKey,
			})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}, s3storage.Options{})
	h.Crash = nil // a client of a server cannot be cut off here
	h.Patience = 2 * time.Minute
	storagetest.Run(t, h)
}
