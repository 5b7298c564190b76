//go:build planted

package planted

import "testing"

func TestChoose(t *testing.T) {
	on := choose(" ViewLeak,RegisterGap, ")
	if len(on) != 2 || !on["ViewLeak"] || !on["RegisterGap"] {
		t.Errorf("got %v", on)
	}
}

func TestChooseRefusesUnknownNames(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a misspelt name was accepted")
		}
	}()
	choose("ViewLeaks")
}

func TestSeldomIsSeldom(t *testing.T) {
	n := 0
	for range 1000 {
		if Seldom() {
			n++
		}
	}
	if n != 20 {
		t.Errorf("true %d times in 1000, want 20", n)
	}
}
