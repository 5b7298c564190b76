package zodbdump

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb"
)

func readAll(dump string) (txns []*zodb.Transaction, err error) {
	for t, err := range NewReader(strings.NewReader(dump)).All() {
		if err != nil {
			return txns, err
		}
		txns = append(txns, t)
	}
	return txns, nil
}

func TestReader(t *testing.T) {
	got, err := readAll(sampleText)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]*zodb.Transaction, len(sample))
	for i, txn := range sample {
		x := *txn
		x.Records = nil
		for _, n := range inOrder(txn.Records) {
			r := txn.Records[n]
			if r.From != 0 {
				r.Data = nil
			}
			x.Records = append(x.Records, r)
		}
		want[i] = &x
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	other := "txn 0000000000000001 \" \"\nuser \"\\a\\x00\"\ndescription \"\"\nextension \"\"\nobj 0000000000000001 3 sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\none\n\n"
	if got, err := readAll(other); err != nil || string(got[0].User) != "\a\x00" || string(got[0].Records[0].Data) != "one" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReaderRefuses(t *testing.T) {
	hashed := dumped(t, true)
	change := func(old, new string) string { return strings.Replace(sampleText, old, new, 1) }
	for _, c := range []struct{ dump, want string }{
		{"x", "unexpected EOF"},
		{"\n", "line 1: \"\" is not the beginning of a transaction"},
		{change("txn 03d5a1b2c3d4e5f6", "txn 3d5a1b2c3d4e5f6"), "line 1: \"3d5a1b2c3d4e5f6\" does not have 16"},
		{change("txn 03d5a1b2c3d4e5f7", "txn 03d5a1b2c3d4e5f5"), "line 13: transaction 03d5a1b2c3d4e5f5 cannot follow"},
		{change(`" "`, `""`), "is no status"},
		{change("user ", "uber "), `line 2: "uber \"/ u\"" should begin with "user "`},
		{change(`"first\n`, `"first\q`), "line 3: "},
		{change(`"first\n`, `"first"`), "has a quote within"},
		{change(`"first\n`, `"first\u20ac`), "escape that is none"},
		{change("3 sha1:fe", "3 sha1:ff"), "line 6: the data do not have the hash"},
		{change("3 sha1:fe", "4 sha1:fe"), "more than the 4 bytes"},
		{change("3 sha1:fe", "3 md5:fe"), "is not known"},
		{change("3 sha1:fe", "99999999999 sha1:fe"), "is no size"},
		{change("3 sha1:fe", "1000000000 sha1:fe"), "unexpected EOF"},
		{change("from 03d5a1b2c3d4e5f6", "from 03d5a1b2c3d4e5f7"), "cannot go back to"},
		{change("2 delete", "2 remove"), "tells of no object"},
		{hashed, "line 5: the data were left out"},
		{sampleText[:len(sampleText)-2], "unexpected EOF"},
		{change(`"/ u"`, `"`+strings.Repeat("u", MaxLine)+`"`), "line 1: the line is too long"},
	} {
		_, err := readAll(c.dump)
		if e, ok := errors.AsType[*SyntaxError](err); !ok || !strings.Contains(e.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// What can be read comes out the same when it is written and read again.
func FuzzReader(f *testing.F) {
	f.Add([]byte(sampleText))
	f.Add([]byte(sampleText[:200]))
	f.Add([]byte("txn 0000000000000001 \"\\xff\"\nuser \"\\a\"\ndescription \"\xff\"\nextension \"\"\n\n"))
	f.Fuzz(func(t *testing.T, dump []byte) {
		txns, err := readAll(string(dump))
		if err != nil {
			return
		}
		var out bytes.Buffer
		w := NewWriter(&out)
		for _, txn := range txns {
			for i := range txn.Records {
				if r := &txn.Records[i]; r.From != 0 {
					r.Data = []byte{}
				}
			}
			if err := w.Write(txn); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		again, err := readAll(out.String())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, out.Bytes())
		}
		for i, txn := range txns {
			var records []zodb.TxnRecord
			for _, n := range inOrder(txn.Records) {
				r := txn.Records[n]
				if r.From != 0 {
					r.Data = nil
				}
				records = append(records, r)
			}
			txn.Records = records
			if diff := cmp.Diff(txn, again[i]); diff != "" {
				t.Error(diff)
			}
		}
	})
}
