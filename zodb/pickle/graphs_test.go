package pickle

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestRandomGraphs reads random values that Python has pickled, and writes them
// again: a record byte by byte, pickles of other protocols such that they load
// equal. ZARI_PYTHON names a Python with ZODB, ZARI_GRAPHS the number of values.
func TestRandomGraphs(t *testing.T) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON is not set")
	}
	count := 1000
	if s := os.Getenv("ZARI_GRAPHS"); s != "" {
		var err error
		if count, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/graphs.py", "1", strconv.Itoa(count))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	w := bufio.NewWriter(in)
	var answers []string
	for range count {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, rewritten(t, strings.TrimSpace(line)))
	}
	for _, a := range answers {
		fmt.Fprintln(w, a)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	last := ""
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		if last != "" {
			t.Errorf("%s", last)
		}
		last = strings.TrimSpace(line)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprint("same ", count); last != want {
		t.Errorf("%s, want %s", last, want)
	}
}

// rewritten decodes and encodes what a line has.
func rewritten(t *testing.T, line string) string {
	t.Helper()
	kind, digits, _ := strings.Cut(line, " ")
	data, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	if kind == "record" {
		class, state, err := DecodeRecord(data)
		if err != nil {
			t.Fatalf("%v: %x", err, data)
		}
		got, err = EncodeRecord(class, state)
		if err != nil {
			t.Fatalf("%v: %x", err, data)
		}
		return hex.EncodeToString(got)
	}
	v, err := Decode(data)
	if err != nil {
		t.Fatalf("%v: %x", err, data)
	}
	if got, err = Encode(v); err != nil {
		t.Fatalf("%v: %x", err, data)
	}
	return hex.EncodeToString(got)
}
