package objstore_test

import (
	"errors"
	"testing"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
)

func TestProbe(t *testing.T) {
	matches := func(op fake.Op) fake.Fault { // only If-Match is ignored
		_, match := op.Cond.ETag()
		return fake.Fault{IgnoreCond: match}
	}
	for name, test := range map[string]struct {
		rule fake.Rule
		want error
	}{
		"good":               {nil, nil},
		"ignores conditions": {fake.Always(fake.Fault{IgnoreCond: true}), objstore.ErrNoConditions},
		"ignores If-Match":   {matches, objstore.ErrNoConditions},
		"a lost answer":      {fake.Nth(2, fake.Fault{Lost: true}), nil},
		"the last lost":      {fake.Nth(12, fake.Fault{Lost: true}), nil},
		"down":               {fake.Always(fake.Fault{Err: fake.ErrSlow}), fake.ErrSlow},
	} {
		t.Run(name, func(t *testing.T) {
			s := fake.New()
			s.SetRule(test.rule)
			if err := objstore.Probe(t.Context(), s, "db/"); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if left := s.Bucket().Keys(); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestProbeFindsCheckThenAct probes a store that looks whether there is an object, and
// then writes: right as long as nobody else does at the same time.
func TestProbeFindsCheckThenAct(t *testing.T) {
	s := fake.New()
	arrived, all := make(chan struct{}, 8), make(chan struct{})
	go func() {
		for range 8 {
			<-arrived
		}
		close(all)
	}()
	s.SetRule(func(op fake.Op) fake.Fault {
		if op.Kind != fake.Put || len(s.Bucket().Keys()) > 0 {
			return fake.Fault{}
		}
		arrived <- struct{}{}
		<-all
		return fake.Fault{IgnoreCond: true}
	})
	if err := objstore.Probe(t.Context(), s, ""); !errors.Is(err, objstore.ErrNoConditions) {
		t.Errorf("got %v", err)
	}
}
