package zodb

import (
	"context"
	"testing"
)

type plain struct{ Syncer }

type choosy struct{ syncs bool }

func (c choosy) Sync(context.Context) error { return nil }

func (c choosy) As(target any) bool {
	p, ok := target.(*Syncer)
	return ok && c.syncs && SetAs[Syncer](p, c)
}

func TestPassOn(t *testing.T) {
	for _, c := range []struct {
		name  string
		inner any
		want  bool
	}{
		{"a method", plain{}, true},
		{"no method", struct{}{}, false},
		{"an Asser that has it", choosy{true}, true},
		{"an Asser that has not, though it has the method", choosy{false}, false},
	} {
		var s Syncer
		if got := PassOn(c.inner, &s); got != c.want || (s != nil) != c.want {
			t.Errorf("%s: found %v, %v; want %v", c.name, got, s, c.want)
		}
	}
}

func TestAdapt(t *testing.T) {
	other := choosy{}
	var s Syncer
	adapt := func(inner Syncer) Syncer {
		if inner != (choosy{true}) {
			t.Errorf("adapting %v, want what was found", inner)
		}
		return other
	}
	if !Adapt(choosy{true}, &s, adapt) || s != other {
		t.Errorf("Adapt left %v, want %v", s, other)
	}
	s = nil
	if Adapt(choosy{false}, &s, adapt) || s != nil {
		t.Errorf("Adapt found what is not there: %v", s)
	}
}
