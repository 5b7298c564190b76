package compress_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/storagetest/bases"
	"github.com/zaridb/zari/wrapper/compress"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// counters merges records of the form "counter N", as ZODB's Length does. They
// are followed by padding, so that they are worth compressing.
type counters struct{}

var padding = strings.Repeat(" and nothing more", 9)

func counter(n int) []byte { return fmt.Appendf(nil, "counter %d%s", n, padding) }

func (counters) Resolve(base, committed, wanted []byte) ([]byte, bool) {
	var b, c, w int
	for data, n := range map[*[]byte]*int{&base: &b, &committed: &c, &wanted: &w} {
		if _, err := fmt.Sscanf(string(*data), "counter %d", n); err != nil {
			return nil, false
		}
	}
	return counter(c + w - b), true
}

var looking = bases.Options{Resolver: compress.Resolver(counters{}), References: compress.References(pickle.References)}

// media are what the wrapper is tested on.
var media = map[string]bases.Medium{"memory": bases.Memory(looking), "file": bases.File(looking)}

func harness(medium bases.Medium, wrap func(testing.TB, zodb.Storage) zodb.Storage) storagetest.Harness {
	h := bases.Harness(medium, wrap)
	h.Merge = &storagetest.Merge{Base: counter(1), A: counter(3), B: counter(6), Merged: counter(8)}
	return h
}

func compressing(_ testing.TB, base zodb.Storage) zodb.Storage {
	return compress.New(base, compress.Options{})
}

func keeping(_ testing.TB, base zodb.Storage) zodb.Storage {
	return compress.New(base, compress.Options{Keep: true})
}

func TestContract(t *testing.T) {
	for name, medium := range media {
		t.Run(name, func(t *testing.T) { storagetest.Run(t, harness(medium, compressing)) })
	}
}

// TestContractKeeping wraps the wrapper once more, so that what is not compressed
// any more meets what was.
func TestContractKeeping(t *testing.T) {
	storagetest.Run(t, harness(media["memory"], mixing))
}

func TestLikeMemory(t *testing.T) {
	memory := bases.Harness(bases.Memory(bases.Options{Resolver: counters{}}), nil)
	seeds := uint64(5)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		storagetest.Metamorphic(t, seed+1, map[string]storagetest.Harness{
			"memory": memory, "compressed": harness(media["memory"], compressing),
			"file": harness(media["file"], compressing), "mixed": harness(media["memory"], mixing),
		})
	}
}

// mixed is a storage some of whose transactions are written compressed and some
// are not.
type mixed struct {
	zodb.Storage // reads
	also         zodb.Storage
	choose       chan int
}

func mixing(t testing.TB, base zodb.Storage) zodb.Storage {
	m := &mixed{compressing(t, base), keeping(t, base), make(chan int, 1)}
	m.choose <- 1
	return m
}

func (m *mixed) As(target any) bool { return zodb.PassOn(m.Storage, target) }

func (m *mixed) Begin(ctx context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	n := <-m.choose
	m.choose <- n + 1
	if rand.New(rand.NewPCG(uint64(n), 0)).IntN(2) == 0 {
		return m.also.Begin(ctx, meta)
	}
	return m.Storage.Begin(ctx, meta)
}

func BenchmarkContract(b *testing.B) { storagetest.Bench(b, harness(media["memory"], compressing)) }
