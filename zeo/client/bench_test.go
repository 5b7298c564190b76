package client_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// BenchmarkCache loads objects of which some are popular, with a cache that holds a
// fifth of them, with none, and with one for all.
func BenchmarkCache(b *testing.B) {
	const objects, size = 5000, 1000
	base := memory(b)
	u := serve(b, base, wire.Pickle)
	ctx := context.Background()
	txn, err := base.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range objects {
		if err := txn.Store(ctx, zodb.OID(i), 0, make([]byte, size)); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := txn.Vote(ctx); err != nil {
		b.Fatal(err)
	}
	if _, err := txn.Finish(ctx, nil); err != nil {
		b.Fatal(err)
	}
	for name, bytes := range map[string]int64{"none": -1, "fifth": objects * (size + 160) / 5, "all": objects * (size + 160) * 5} {
		b.Run(name, func(b *testing.B) {
			s, err := client.Open(ctx, client.Options{Addresses: []string{u.addr}, CacheBytes: bytes, Wait: true})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 1)), 1.1, 8, objects-1)
			for b.Loop() {
				if _, err := s.LoadBefore(ctx, zodb.OID(zipf.Uint64()), zodb.MaxTID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
