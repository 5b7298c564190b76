package s3storage_test

import (
	"fmt"
	"testing"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/front/disklog"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/internal/testpg"
)

// BenchmarkLog offers commits to the three places where a log may be. The disk and
// PostgreSQL sync.
func BenchmarkLog(b *testing.B) {
	server := testpg.Start(b, testpg.Options{Fsync: true})
	for _, rate := range []int{10, 100, 1000} {
		for name, opts := range map[string]func(b *testing.B) s3storage.Options{
			"s3": func(*testing.B) s3storage.Options { return s3storage.Options{} },
			"local": func(b *testing.B) s3storage.Options {
				p, err := disklog.Open(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				return s3storage.Options{Log: layout.OnDisk, Fronts: []front.Place{p}}
			},
			"postgres": func(b *testing.B) s3storage.Options {
				return s3storage.Options{Log: layout.InPostgres, Fronts: []front.Place{pgPlace(b, server.Database(b))}}
			},
		} {
			b.Run(fmt.Sprintf("%d/%s", rate, name), func(b *testing.B) {
				for b.Loop() {
					offer(b, rate, opts(b))
				}
			})
		}
	}
}
