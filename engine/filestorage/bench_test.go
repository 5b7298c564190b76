package filestorage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// fill appends n objects of size bytes, per to a transaction, and returns the
// last tid. It syncs nothing.
func fill(t testing.TB, s *Storage, n, per, size int) zodb.TID {
	t.Helper()
	head, next := s.Head()
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i)
	}
	for n > 0 {
		head++
		txn := &txnlog.Txn{TID: head, Status: ' '}
		for range min(per, n) {
			next++
			txn.Records = append(txn.Records, txnlog.Record{OID: next, Data: data})
		}
		n -= len(txn.Records)
		if _, err := s.Append(t.Context(), []*txnlog.Txn{txn}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return head
}

func benchFile(b *testing.B, n, size int) *Storage {
	b.Helper()
	s := open(b, Options{Path: filepath.Join(b.TempDir(), "Data.fs"), FS: unsynced{vfs.OS()}})
	fill(b, s, n, 1000, size)
	return s
}

func BenchmarkLoad(b *testing.B) {
	const n = 100_000
	s := benchFile(b, n, 1000)
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	begin := cpu(b)
	for b.Loop() {
		if _, err := s.LoadBefore(b.Context(), zodb.OID(rng.IntN(n)+1), zodb.MaxTID); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/(cpu(b)-begin).Seconds(), "loads/cpu-s")
}

func BenchmarkLoadParallel(b *testing.B) {
	const n = 100_000
	s := benchFile(b, n, 1000)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		rng := rand.New(rand.NewPCG(1, 1))
		for pb.Next() {
			if _, err := s.LoadBefore(b.Context(), zodb.OID(rng.IntN(n)+1), zodb.MaxTID); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkSerials(b *testing.B) {
	const n = 100_000
	s := benchFile(b, n, 100)
	rng := rand.New(rand.NewPCG(1, 1))
	oids := make([]zodb.OID, 10)
	b.ReportAllocs()
	for b.Loop() {
		for i := range oids {
			oids[i] = zodb.OID(rng.IntN(n) + 1)
		}
		if _, err := s.Serials(b.Context(), oids); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, sync := range []bool{false, true} {
		for _, batch := range []int{1, 16} {
			b.Run(fmt.Sprintf("sync=%v/batch=%d", sync, batch), func(b *testing.B) {
				fsys := vfs.FS(unsynced{vfs.OS()})
				if sync {
					fsys = vfs.OS()
				}
				s := open(b, Options{Path: filepath.Join(b.TempDir(), "Data.fs"), FS: fsys})
				data := make([]byte, 1000)
				txns := make([]*txnlog.Txn, batch)
				for i := range txns {
					txns[i] = &txnlog.Txn{Status: ' ', Records: []txnlog.Record{{OID: zodb.OID(i), Data: data}}}
				}
				head := zodb.TID(1)
				b.ReportAllocs()
				for b.Loop() {
					for _, t := range txns {
						head++
						t.TID = head
					}
					if _, err := s.Append(b.Context(), txns, nil); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "txns/s")
			})
		}
	}
}

// BenchmarkRebuild reads a file without its index. ZARI_BENCH_MB is its size.
func BenchmarkRebuild(b *testing.B) {
	mb := 100
	if v := os.Getenv("ZARI_BENCH_MB"); v != "" {
		mb, _ = strconv.Atoi(v)
	}
	path := filepath.Join(b.TempDir(), "Data.fs")
	fsys := unsynced{vfs.OS()}
	s, err := Open(Options{Path: path, FS: fsys})
	if err != nil {
		b.Fatal(err)
	}
	fill(b, s, mb*1000, 100, 1000)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(mb) << 20)
	for b.Loop() {
		os.Remove(path + ".index")
		s, err := Open(Options{Path: path, ReadOnly: true})
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

// BenchmarkIndexMemory reports the bytes that the index takes for each object.
func BenchmarkIndexMemory(b *testing.B) {
	const n = 5_000_000
	for _, kind := range []string{"dense", "every tenth", "random"} {
		b.Run(kind, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				before := heap()
				x := newIndex()
				begin := time.Now()
				for i := range zodb.OID(n) {
					switch kind {
					case "every tenth":
						i *= 10
					case "random":
						i = zodb.OID(rng.Uint64())
					}
					x.set(i, 1<<40)
				}
				b.ReportMetric(float64(time.Since(begin).Nanoseconds())/n, "ns/set")
				b.ReportMetric(float64(heap()-before)/n, "bytes/object")
				runtime.KeepAlive(x)
			}
		})
	}
}

// cpu returns the processor time that the process has used.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
