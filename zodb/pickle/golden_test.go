package pickle

import (
	"bufio"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/zaridb/zari/zodb"
)

// golden is one line of testdata/records.txt.
type golden struct {
	kind, name string
	data       []byte
	class      string // of a record, "?" where Python cannot tell
	refs       string // of a record, joined by commas; "?" where Python cannot tell
}

func goldens(t testing.TB, kinds ...string) []golden {
	t.Helper()
	f, err := os.Open("testdata/records.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []golden
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		parts := append(strings.Fields(lines.Text()), "", "")
		if !strings.Contains(strings.Join(kinds, " "), parts[0]) {
			continue
		}
		data, err := hex.DecodeString(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, golden{parts[0], parts[1], data, parts[3], parts[4]})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func (g golden) wantRefs(t testing.TB) []zodb.OID {
	var oids []zodb.OID
	if g.refs == "-" {
		return nil
	}
	for h := range strings.SplitSeq(g.refs, ",") {
		b, err := hex.DecodeString(h)
		if err != nil {
			t.Fatal(err)
		}
		oid, err := zodb.ParseOID(b)
		if err != nil {
			t.Fatal(err)
		}
		oids = append(oids, oid)
	}
	return oids
}
