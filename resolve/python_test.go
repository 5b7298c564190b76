package resolve

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// sample is how many merges of each family are compared, unless ZARI_MERGES says
// otherwise.
const sample = 600

// comparison is what testdata/merges.py says in the end.
type comparison struct {
	Cases, Merged, Refused, Identical, Uncertain, Differences int
	Examples, Missing                                         []string
	Reasons                                                   map[string]int
}

// TestAsPython makes random conflicts with the real BTrees, for every family and
// kind, and compares what Python and this package make of them: equal states, or
// both nothing. The only exception is what this package says it is not certain of.
//
// ZARI_MERGES is the number for each family, ZARI_SEED the seed.
func TestAsPython(t *testing.T) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON is not set")
	}
	names := append([]string{"field"}, families...)
	for _, name := range names {
		t.Run(name, func(t *testing.T) { compareWithPython(t, python, name) })
	}
}

func compareWithPython(t *testing.T, python, family string) {
	count, seed := sample, "1"
	if s := os.Getenv("ZARI_MERGES"); s != "" {
		var err error
		if count, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if s := os.Getenv("ZARI_SEED"); s != "" {
		seed = s
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/merges.py", family, seed, strconv.Itoa(count))
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
	got, err := answer(bufio.NewReaderSize(out, 1<<16), bufio.NewWriterSize(in, 1<<16))
	if err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	report(t, got, count)
}

func report(t *testing.T, got comparison, count int) {
	t.Logf("%d conflicts: %d merged by both (%d byte for byte), %d refused by both, %d that only Python merged and Go is not certain of",
		got.Cases, got.Merged, got.Identical, got.Refused, got.Uncertain)
	var reasons []string
	for i, name := range reasonNames {
		if n := got.Reasons[strconv.Itoa(i)]; n > 0 {
			reasons = append(reasons, fmt.Sprintf("%s %d", name, n))
		}
	}
	t.Logf("Go says: %s", strings.Join(reasons, ", "))
	if len(got.Missing) > 0 {
		t.Logf("not installed: %s", strings.Join(got.Missing, ", "))
	}
	if got.Cases < count || got.Merged == 0 || got.Refused == 0 {
		t.Errorf("%d cases were asked for", count)
	}
	if got.Differences > 0 {
		t.Errorf("%d differences, such as:\n%s", got.Differences, strings.Join(got.Examples, "\n\n"))
	}
}

// answer merges what comes, until the result comes.
func answer(in *bufio.Reader, out *bufio.Writer) (result comparison, err error) {
	var answers []byte
	for {
		op, err := in.ReadByte()
		if err != nil {
			return result, err
		}
		switch op {
		case 'C':
			var records [3][]byte
			for i := range records {
				if records[i], err = frame(in); err != nil {
					return result, err
				}
			}
			merged, reason := Merge(records[0], records[1], records[2])
			answers = append(answers, byte(reason))
			answers = binary.BigEndian.AppendUint32(answers, uint32(len(merged)))
			answers = append(answers, merged...)
		case 'F':
			out.Write(answers)
			if err := out.Flush(); err != nil {
				return result, err
			}
			answers = answers[:0]
		case 'J':
			data, err := frame(in)
			if err != nil {
				return result, err
			}
			return result, json.Unmarshal(data, &result)
		}
	}
}

func frame(in *bufio.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return nil, err
	}
	data := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(in, data)
	return data, err
}
