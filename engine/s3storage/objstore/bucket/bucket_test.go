package bucket_test

import (
	"context"
	"testing"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/bucket"
	"github.com/zaridb/zari/engine/s3storage/objstore/objstoretest"
	"github.com/zaridb/zari/internal/tests3"
)

// optionsOf are those for a new bucket of a test server.
func optionsOf(t testing.TB, server *tests3.Server) bucket.Options {
	return bucket.Options{
		Bucket: server.Bucket(t), Endpoint: server.Endpoint, AccessKey: tests3.AccessKey, SecretKey: tests3.SecretKey,
		PartSize: 5 << 20, PageSize: 100,
	}
}

func open(t testing.TB, o bucket.Options) *bucket.Store {
	t.Helper()
	s, err := bucket.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// contract runs the suite in buckets of a server, two clients in each.
func contract(t *testing.T, server *tests3.Server, change func(*bucket.Options)) {
	var o bucket.Options
	objstoretest.Run(t, objstoretest.Harness{
		New: func(t testing.TB) objstore.Store {
			o = optionsOf(t, server)
			change(&o)
			return open(t, o)
		},
		Peer:     func(t testing.TB, _ objstore.Store) objstore.Store { return open(t, o) },
		FileSize: 17 << 20,
		Objects:  350,
	})
}

// TestServer runs the suite on a server that the test starts.
func TestServer(t *testing.T) {
	server := tests3.Start(t)
	t.Run("plain", func(t *testing.T) { contract(t, server, func(*bucket.Options) {}) })
	t.Run("checksumsAndPrefix", func(t *testing.T) {
		if testing.Short() {
			t.Skip("short")
		}
		contract(t, server, func(o *bucket.Options) { o.Checksums, o.Prefix = "always", "some/db" })
	})
}

// TestRealBucket runs the suite below the URL in ZARI_TEST_S3_URL, and deletes what it
// put there. It costs about two cents.
func TestRealBucket(t *testing.T) {
	base, rest, err := bucket.ParseURL(tests3.RealURL(t))
	if err != nil || len(rest) > 0 {
		t.Fatalf("ZARI_TEST_S3_URL: %v %v", err, rest)
	}
	var o bucket.Options
	objstoretest.Run(t, objstoretest.Harness{
		New: func(t testing.TB) objstore.Store {
			o = base
			o.Prefix += "/test-" + objstore.Nonce()
			t.Cleanup(func() { objstoretest.Empty(t, open(t, o)) })
			return open(t, o)
		},
		Peer:     func(t testing.TB, _ objstore.Store) objstore.Store { return open(t, o) },
		FileSize: 40 << 20,
		Rounds:   5,
	})
}
