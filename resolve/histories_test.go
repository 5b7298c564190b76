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

	"github.com/zaridb/zari/zodb"
)

// histories is what testdata/histories.py says in the end. Broken histories are
// those in which a check was passed; the others are broken by BTrees itself.
type histories struct {
	Histories, Commits, Conflicts, Reads, Passed, Broken, Python int
	Examples                                                     []string
}

// revisions is what has been committed in a history.
type revisions map[zodb.OID][]revision

type revision struct {
	serial zodb.TID
	data   []byte
}

func (r revisions) load(oid zodb.OID, serial zodb.TID) ([]byte, error) {
	for _, rev := range r[oid] {
		if rev.serial == serial {
			return rev.data, nil
		}
	}
	return nil, fmt.Errorf("no revision %v of %v", serial, oid)
}

func (r revisions) current(oid zodb.OID) ([]byte, zodb.TID, error) {
	all := r[oid]
	if len(all) == 0 {
		return nil, 0, &zodb.NoObjectError{OID: oid}
	}
	return all[len(all)-1].data, all[len(all)-1].serial, nil
}

// TestHistories lets BTrees make random histories in which checks are passed that
// Moved says nothing of, and finds every tree whole. ZARI_HISTORIES is their number.
func TestHistories(t *testing.T) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON is not set")
	}
	count, seed := 60, "1"
	if s := os.Getenv("ZARI_HISTORIES"); s != "" {
		var err error
		if count, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if s := os.Getenv("ZARI_SEED"); s != "" {
		seed = s
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/histories.py", seed, strconv.Itoa(count))
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
	got, err := judge(bufio.NewReaderSize(out, 1<<16), in)
	if err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d histories, %d commits, %d conflicts; of %d nodes that had changed, %d had not moved; %d trees broken with such checks, %d without",
		got.Histories, got.Commits, got.Conflicts, got.Reads, got.Passed, got.Broken, got.Python)
	if got.Histories != count || got.Passed == 0 {
		t.Errorf("%d histories were asked for, and checks that pass", count)
	}
	if len(got.Examples) > 0 {
		t.Logf("broken trees:\n%s", strings.Join(got.Examples, "\n"))
	}
	if got.Broken > 0 {
		t.Errorf("%d trees are broken in histories where checks were passed", got.Broken)
	}
}

// judge keeps the revisions of a history and answers what is asked, until the
// result comes.
func judge(in *bufio.Reader, out io.Writer) (result histories, err error) {
	revs := make(revisions)
	for {
		op, err := in.ReadByte()
		if err != nil {
			return result, err
		}
		switch op {
		case 'X':
			revs = make(revisions)
		case 'R':
			f, err := frames(in, 3)
			if err != nil {
				return result, err
			}
			oid := zodb.OID(number(f[0]))
			revs[oid] = append(revs[oid], revision{zodb.TID(number(f[1])), f[2]})
		case 'Q':
			f, err := frame(in)
			if err != nil {
				return result, err
			}
			fields, err := frames(in, int(binary.BigEndian.Uint32(f)))
			if err != nil {
				return result, err
			}
			answer := []byte{0}
			if moved, _, _ := revs.writer(fields[1:]).Moved(zodb.OID(number(fields[0]))); moved {
				answer[0] = 1
			}
			if _, err := out.Write(answer); err != nil {
				return result, err
			}
		case 'J':
			data, err := frame(in)
			if err != nil {
				return result, err
			}
			return result, json.Unmarshal(data, &result)
		}
	}
}

func (r revisions) writer(fields [][]byte) *Writer {
	w := &Writer{Writes: make(map[zodb.OID]Written), Checks: make(map[zodb.OID]zodb.TID), Load: r.load, Current: r.current}
	for ; len(fields) >= 4; fields = fields[4:] {
		oid, serial := zodb.OID(number(fields[1])), zodb.TID(number(fields[2]))
		if fields[0][0] == 'W' {
			w.Writes[oid] = Written{serial, fields[3]}
		} else {
			w.Checks[oid] = serial
		}
	}
	return w
}

func frames(in *bufio.Reader, n int) ([][]byte, error) {
	all := make([][]byte, n)
	for i := range all {
		var err error
		if all[i], err = frame(in); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func number(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
