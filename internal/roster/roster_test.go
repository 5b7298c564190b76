package roster

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoster(t *testing.T) {
	var r Roster[int]
	r.Add("a", 1)
	r.Add("b", 2)
	r.Add("a", 3)
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 2, "a#2": 3}, maps.Collect(r.All())); diff != "" {
		t.Error(diff)
	}
	r.Remove(1)
	if diff := cmp.Diff(map[string]int{"a": 3, "b": 2}, maps.Collect(r.All())); diff != "" {
		t.Error(diff)
	}
	for range r.All() {
		break
	}
	var none *Roster[int]
	none.Add("a", 1)
	none.Remove(1)
}
