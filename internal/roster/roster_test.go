package roster

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type part string

func (p part) String() string { return string(p) }

// listed returns the parts of type T, as STORAGE=PART.
func listed[T any](r *Roster) (list []string) {
	for storage, p := range All[T](r) {
		list = append(list, fmt.Sprintf("%s=%v", storage, p))
	}
	return list
}

func TestRoster(t *testing.T) {
	var r Roster
	a, b, c := r.Page("a"), r.Page("b"), r.Page("a")
	a.Add(part("x"))
	b.Add(1)
	c.Add(part("y"))
	a.Add(2)
	for what, got := range map[string][2][]string{
		"of a type":         {{"a=x", "a=y"}, listed[part](&r)},
		"of another":        {{"b=1", "a=2"}, listed[int](&r)},
		"with a method":     {{"a=x", "a=y"}, listed[fmt.Stringer](&r)},
		"of all types":      {{"a=x", "b=1", "a=y", "a=2"}, listed[any](&r)},
		"that nobody added": {nil, listed[float64](&r)},
	} {
		if diff := cmp.Diff(got[0], got[1]); diff != "" {
			t.Errorf("parts %s (-want +got):\n%s", what, diff)
		}
	}
	a.Close()
	a.Close()
	if diff := cmp.Diff([]string{"b=1", "a=y"}, listed[any](&r)); diff != "" {
		t.Errorf("after a page was closed (-want +got):\n%s", diff)
	}
}

// While parts are looked at others come and go.
func TestRosterChangesMeanwhile(t *testing.T) {
	var r Roster
	first, second := r.Page("first"), r.Page("second")
	first.Add(1)
	second.Add(2)
	n := 0
	for range All[int](&r) {
		second.Close()
		r.Page("third").Add(3)
		if n++; n == 2 {
			break
		}
	}
	if diff := cmp.Diff([]string{"first=1", "third=3", "third=3"}, listed[int](&r)); n != 2 || diff != "" {
		t.Errorf("%d parts, and then (-want +got):\n%s", n, diff)
	}
}

// Where there is no roster a part need not know.
func TestNoRoster(t *testing.T) {
	var none *Roster
	page := none.Page("a")
	page.Add(1)
	page.Close()
}
