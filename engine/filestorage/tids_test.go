package filestorage

import (
	"math/rand/v2"
	"testing"

	"github.com/zaridb/zari/zodb"
)

func TestTIDs(t *testing.T) {
	var table tids
	if got := table.get(0); got != 0 {
		t.Errorf("an empty table knows %v", got)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	known := make(map[int64]zodb.TID)
	pos := int64(4)
	for i := range 3 * len(table) {
		pos += 42 + rnd.Int64N(2000)
		known[pos] = zodb.TID(i + 1)
		table.put(pos, known[pos])
		if got := table.get(pos); got != known[pos] {
			t.Fatalf("%v at %d, want what was put there last, %v", got, pos, known[pos])
		}
	}
	kept := 0
	for pos, want := range known {
		switch got := table.get(pos); got {
		case want:
			kept++
		case 0:
		default:
			t.Fatalf("%v at %d, want %v", got, pos, want)
		}
	}
	if kept < len(table)/2 {
		t.Errorf("%d positions are remembered in %d places", kept, len(table))
	}
}
