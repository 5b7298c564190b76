package storagetest

import "fmt"

// Counters is a resolver for storages under test: it merges states that say "counter 5",
// by adding what both sides have counted.
type Counters struct{}

// Resolve implements store.Resolver.
func (Counters) Resolve(base, committed, wanted []byte) ([]byte, bool) {
	var b, c, w int
	for data, n := range map[*[]byte]*int{&base: &b, &committed: &c, &wanted: &w} {
		if _, err := fmt.Sscanf(string(*data), "counter %d", n); err != nil {
			return nil, false
		}
	}
	return fmt.Appendf(nil, "counter %d", c+w-b), true
}

// CountersMerge is a conflict that Counters merges, for Harness.Merge.
func CountersMerge() *Merge {
	return &Merge{Base: []byte("counter 1"), A: []byte("counter 3"), B: []byte("counter 6"), Merged: []byte("counter 8")}
}
