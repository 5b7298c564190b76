//go:build unix

package blockcache

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// cpu is the time that this process has used, of all processors: on a busy machine the only
// figure that means something.
func cpu(b *testing.B) time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// BenchmarkRead reads blocks from memory, from the disk (beside the same bytes out of one
// open file, which is what a local database would do), parts of 1000 bytes from there, and
// blocks from a store in memory, without and with keeping them.
func BenchmarkRead(b *testing.B) {
	for _, size := range []int64{4 << 10, 64 << 10, 256 << 10} {
		for _, bench := range []struct {
			name string
			opts Options
		}{
			{"memory", Options{Memory: 64 << 20}},
			{"disk", Options{Dir: b.TempDir(), MaxBytes: 1 << 30}},
			{"cold", Options{}},
			{"coldKept", Options{Dir: b.TempDir(), MaxBytes: 1 << 40}},
		} {
			b.Run(fmt.Sprintf("%s/%dK", bench.name, size>>10), func(b *testing.B) {
				s, all := newStore(b)
				c := newCache(b, s, bench.opts)
				span := int64(len(all)) - size
				step := size
				if bench.name == "coldKept" {
					step = 1 // ranges that nobody has asked for
				}
				read := func(i int64) {
					if _, err := c.Read(context.Background(), "seg/1", objstore.Range{Off: i * step % span, Len: size}); err != nil {
						b.Fatal(err)
					}
				}
				if step > 1 {
					for i := range int64(len(all)) / size {
						read(i)
					}
					c.flying.Wait()
				}
				measure(b, size, read)
				c.flying.Wait()
			})
		}
		b.Run(fmt.Sprintf("part/%dK", size>>10), func(b *testing.B) {
			s, all := newStore(b)
			c := newCache(b, s, Options{Dir: b.TempDir(), MaxBytes: 1 << 30})
			read := func(i int64) {
				block := objstore.Range{Off: i * size % (int64(len(all)) - size + 1) / size * size, Len: size}
				if _, err := c.ReadPart(context.Background(), "seg/1", block, i%(size-1000), 1000); err != nil {
					b.Fatal(err)
				}
			}
			for i := range int64(len(all)) / size {
				read(i)
			}
			c.flying.Wait()
			measure(b, 1000, read)
		})
		b.Run(fmt.Sprintf("pread/%dK", size>>10), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "file")
			if err := os.WriteFile(path, make([]byte, 4<<20), 0o600); err != nil {
				b.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			measure(b, size, func(i int64) {
				if _, err := f.ReadAt(make([]byte, size), i*size%(4<<20-size)); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

func measure(b *testing.B, size int64, read func(i int64)) {
	b.SetBytes(size)
	b.ReportAllocs()
	begin := cpu(b)
	i := int64(0)
	for b.Loop() {
		read(i)
		i++
	}
	b.ReportMetric(float64((cpu(b)-begin).Nanoseconds())/1000/float64(i), "cpu-us/op")
}
