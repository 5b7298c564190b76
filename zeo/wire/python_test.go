package wire

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// TestPythonReadsUs has the real Python package read random messages and write
// them again: the bytes must be the same. ZARI_PYTHON names a Python that has ZEO.
func TestPythonReadsUs(t *testing.T) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON is not set")
	}
	rnd := rand.New(rand.NewPCG(7, 11))
	var want strings.Builder
	for range 400 {
		for _, c := range []Codec{Pickle, Msgpack} {
			frame, err := c.AppendReply(nil, c.int(nil, rnd.Int64()), randomValue(rnd, c, 4))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&want, "%c %x\n", c, frame[headerSize:])
		}
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/recode.py")
	cmd.Stdin = strings.NewReader(want.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := bytes.Split(out, []byte("\n"))
	for i, w := range strings.Split(want.String(), "\n") {
		if i >= len(got) || string(got[i]) != w {
			t.Fatalf("message %d:\n got %.500s\nwant %.500s", i, got[min(i, len(got)-1)], w)
		}
	}
}

// randomValue makes a value that comes back from Python as it is.
func randomValue(rnd *rand.Rand, c Codec, depth int) any {
	if depth == 0 || rnd.IntN(3) == 0 {
		return randomScalar(rnd, c)
	}
	items := make([]any, rnd.IntN(6))
	if depth == 1 && rnd.IntN(20) == 0 {
		items = make([]any, []int{17, 999, 1000, 1001}[rnd.IntN(4)])
	}
	for i := range items {
		items[i] = randomValue(rnd, c, depth-1)
	}
	kind := rnd.IntN(3)
	switch {
	case kind == 0 && c == Pickle: // msgpack's arrays come back as tuples, which encode as arrays
		return pickle.NewList(items...)
	case kind == 1:
		d := &pickle.Dict{}
		for i, v := range items {
			d.Set(fmt.Sprintf("%d-%d", i, rnd.Uint32()), v)
		}
		return d
	}
	return pickle.Tuple(items)
}

func randomScalar(rnd *rand.Rand, c Codec) any {
	n := rnd.Int64() >> rnd.IntN(64)
	switch rnd.IntN(10) {
	case 0:
		return nil
	case 1:
		return rnd.IntN(2) == 0
	case 2:
		return n
	case 3:
		return uint64(n) // beyond int64 in half of the cases
	case 4:
		return math.Float64frombits(rnd.Uint64() &^ (1 << 62)) // no NaN
	case 5:
		return strings.Repeat("ü€😀x", rnd.IntN(100)>>rnd.IntN(7))
	case 6:
		return bytes.Repeat([]byte{byte(n)}, rnd.IntN(70000)>>(4+rnd.IntN(13)))
	case 7:
		return zodb.OID(n)
	case 8:
		if c == Pickle {
			return new(big.Int).Lsh(big.NewInt(n), uint(rnd.IntN(2100))>>rnd.IntN(12))
		}
	}
	return zodb.TID(n)
}
