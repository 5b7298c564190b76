package model

import (
	"testing"

	"github.com/zaridb/zari/zodb"
)

func TestStateRoundTrip(t *testing.T) {
	large := 0
	for n := range uint64(300) {
		want := State{OID: zodb.OID(n * 7), Base: zodb.TID(n << 33), ID: NewStateID(uint32(n), n*n)}
		b := want.Append(nil)
		if len(b) > 16000 {
			large++
		}
		if got, err := DecodeState(b); err != nil || got != want {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
	}
	if large == 0 {
		t.Error("no state is larger than what a socket takes at once")
	}
}

// Whatever byte of a record is changed, cut off or added, it is noticed.
func TestStateNoticesEveryByte(t *testing.T) {
	s := State{OID: 3, Base: 4, ID: NewStateID(5, 6)}
	b := s.Append(nil)
	for i := range b {
		b[i] ^= 0x10
		if got, err := DecodeState(b); err == nil && got == s {
			t.Errorf("byte %d was changed unnoticed", i)
		}
		b[i] ^= 0x10
		if _, err := DecodeState(b[:i]); err == nil {
			t.Errorf("a record of %d bytes was taken", i)
		}
	}
	if _, err := DecodeState(append(b, '.')); err == nil {
		t.Error("a byte too many was taken")
	}
}

func FuzzDecodeState(f *testing.F) {
	f.Add(State{1, 2, NewStateID(3, 4)}.Append(nil))
	f.Add([]byte(recordHead))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeState(b)
		if err == nil && string(s.Append(nil)) != string(b) {
			t.Errorf("%v does not give back its record", s)
		}
	})
}

func TestLabelRoundTrip(t *testing.T) {
	for _, want := range []Label{
		{ID: NewStateID(1, 2)},
		{ID: NewStateID(1<<24-1, 1<<40-1), Undo: zodb.MaxTID},
		{ID: NewStateID(1, 2), Checks: []Check{{1, 2}, {1<<63 + 5, 1 << 40}}},
	} {
		got, err := ParseLabel(want.String())
		if err != nil || got.String() != want.String() {
			t.Errorf("%v gave %v, %v", want, got, err)
		}
	}
}

func FuzzParseLabel(f *testing.F) {
	for _, s := range []string{"model 1 0", "model 1 0 2=3", "initial database creation", "model  1 0", "model 1 0 2="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLabel(s)
		if err == nil && l.String() != s {
			t.Errorf("%q was read as %q", s, l)
		}
	})
}
