package filestorage_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// python runs testdata/peer.py in the interpreter that ZARI_PYTHON names, which
// must have ZODB.
func python(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	interpreter := os.Getenv("ZARI_PYTHON")
	if interpreter == "" {
		t.Skip("ZARI_PYTHON names no Python with ZODB")
	}
	cmd := exec.CommandContext(t.Context(), interpreter, append([]string{"testdata/peer.py"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("peer.py %v: %w\n%s", args, err, stderr.String())
	}
	if stderr.Len() > 0 {
		return out, fmt.Errorf("peer.py %v complains:\n%s", args, stderr.String())
	}
	return out, nil
}

func mustPython(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := python(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// contents is all that can be read from a data file, as peer.py prints it.
type contents struct {
	UsedIndex    bool             `json:"used_index"`
	Transactions []transaction    `json:"transactions"`
	Objects      map[string][]any `json:"objects"` // for each transaction, loadBefore
	Undo         []string         `json:"undo"`
}

type transaction struct {
	TID         string   `json:"tid"`
	Status      string   `json:"status"`
	User        string   `json:"user"`
	Description string   `json:"description"`
	Extension   string   `json:"extension"`
	Records     []record `json:"records"`
}

type record struct {
	OID  string  `json:"oid"`
	Data *string `json:"data"`
	From *string `json:"from"`
}

func theirs(t *testing.T, path string) contents {
	t.Helper()
	var c contents
	if err := json.Unmarshal(mustPython(t, "dump", path), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// ours reads the same as peer.py's dump.
func ours(t *testing.T, s *store.Store) contents {
	t.Helper()
	c := contents{Objects: make(map[string][]any)}
	it, _ := zodb.As[zodb.Iterator](s)
	oids := make(map[zodb.OID]bool)
	var tids []zodb.TID
	for txn, err := range it.Transactions(t.Context(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		x := transaction{
			TID: hexTID(txn.TID), Status: string(txn.Status), User: hex.EncodeToString(txn.User),
			Description: hex.EncodeToString(txn.Description), Extension: hex.EncodeToString(txn.Extension),
			Records: []record{},
		}
		for _, r := range txn.Records {
			oids[r.OID] = true
			rec := record{OID: hexOID(r.OID)}
			if r.Data != nil {
				rec.Data = new(hex.EncodeToString(r.Data))
			}
			if r.From != 0 {
				rec.From = new(hexTID(r.From))
			}
			x.Records = append(x.Records, rec)
		}
		tids = append(tids, txn.TID)
		c.Transactions = append(c.Transactions, x)
	}
	for oid := range oids {
		c.Objects[hexOID(oid)] = loads(t, s, oid, append(tids, zodb.MaxTID))
	}
	undoer, _ := zodb.As[zodb.Undoer](s)
	log, err := undoer.UndoLog(t.Context(), 0, 1e6, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Undo = []string{}
	for _, e := range log {
		c.Undo = append(c.Undo, hexTID(e.TID))
	}
	return c
}

func loads(t *testing.T, s *store.Store, oid zodb.OID, tids []zodb.TID) (all []any) {
	t.Helper()
	for _, tid := range tids {
		rec, err := s.LoadBefore(t.Context(), oid, tid)
		missing, ok := errors.AsType[*zodb.NoObjectError](err)
		switch {
		case ok && missing.DeletedAt != 0:
			all = append(all, "deleted")
		case ok && missing.Known:
			all = append(all, nil)
		case err != nil:
			t.Fatalf("LoadBefore(%v, %v): %v", oid, tid, err)
		case rec.Next == 0:
			all = append(all, []any{hex.EncodeToString(rec.Data), hexTID(rec.Serial), nil})
		default:
			all = append(all, []any{hex.EncodeToString(rec.Data), hexTID(rec.Serial), hexTID(rec.Next)})
		}
	}
	return all
}

func hexTID(tid zodb.TID) string { b := tid.Bytes(); return hex.EncodeToString(b[:]) }
func hexOID(oid zodb.OID) string { b := oid.Bytes(); return hex.EncodeToString(b[:]) }

// references reads the oids in data that peer.py made.
func references(data []byte, dst []zodb.OID) ([]zodb.OID, error) {
	if len(data) == 0 || len(data) < 1+8*int(data[0]) {
		return dst, fmt.Errorf("%d bytes of data with %v", len(data), data[:min(len(data), 1)])
	}
	for i := range int(data[0]) {
		oid, err := zodb.ParseOID(data[1+8*i : 9+8*i])
		if err != nil {
			return dst, err
		}
		dst = append(dst, oid)
	}
	return dst, nil
}

func openStore(t *testing.T, path string) *store.Store {
	t.Helper()
	engine, err := filestorage.Open(filestorage.Options{Path: path, FS: vfs.NoSync(vfs.OS()), References: references})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), engine, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// extend commits n transactions of all kinds, as peer.py's extend does.
func extend(t *testing.T, s *store.Store, rng *rand.Rand, n int) {
	t.Helper()
	for i := range n {
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{
			User: fmt.Appendf(nil, "go %d", i), Description: []byte("dé"),
			Extension: []byte("\x80\x03}X\x01\x00\x00\x00nK\x01s."),
		})
		if err != nil {
			t.Fatal(err)
		}
		work(t, s, txn, rng)
		if _, err := txn.Vote(t.Context()); err != nil {
			if _, ok := errors.AsType[*zodb.UndoError](err); !ok {
				t.Fatal(err)
			}
			txn.Abort()
			continue
		}
		if _, err := txn.Finish(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
	}
}

func work(t *testing.T, s *store.Store, txn zodb.Txn, rng *rand.Rand) {
	t.Helper()
	live := make(map[zodb.OID]zodb.TID)
	var oids []zodb.OID
	it, _ := zodb.As[zodb.RecordIterator](s)
	for c, err := range it.Current(t.Context(), 0, 0, ^zodb.OID(0)) {
		if err != nil {
			t.Fatal(err)
		}
		live[c.OID] = c.Serial
		oids = append(oids, c.OID)
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	switch kind := rng.IntN(10); {
	case kind == 0:
		undoer, _ := zodb.As[zodb.Undoer](s)
		log, err := undoer.UndoLog(t.Context(), 0, 20, nil)
		check(err)
		if len(log) > 0 {
			u, _ := zodb.As[zodb.UndoTxn](txn)
			check(u.Undo(t.Context(), log[rng.IntN(len(log))].TID))
		}
	case kind == 1 && len(oids) > 2:
		d, _ := zodb.As[zodb.DeleteTxn](txn)
		oid := oids[1+rng.IntN(len(oids)-1)]
		check(d.Delete(t.Context(), oid, live[oid]))
	default:
		for range rng.IntN(3) + 1 {
			var oid zodb.OID
			if len(oids) > 0 && rng.IntN(2) == 0 {
				oid = oids[rng.IntN(len(oids))]
			} else if len(oids) > 0 {
				fresh, err := s.NewOIDs(t.Context(), 1)
				check(err)
				oid = fresh[0]
			}
			check(txn.Store(t.Context(), oid, live[oid], randomData(rng, oids)))
		}
	}
}

func randomData(rng *rand.Rand, oids []zodb.OID) []byte {
	data := []byte{byte(min(len(oids), rng.IntN(3)))}
	for range data[0] {
		b := oids[rng.IntN(len(oids))].Bytes()
		data = append(data, b[:]...)
	}
	return append(data, bytes.Repeat([]byte{byte(rng.Uint32())}, []int{0, 5, 400, 6000}[rng.IntN(4)])...)
}

func compare(t *testing.T, what string, a, b contents) {
	t.Helper()
	a.UsedIndex, b.UsedIndex = false, false
	if diff := cmp.Diff(a, b); diff != "" {
		t.Fatalf("%s (-theirs +ours):\n%s", what, diff)
	}
}

// Python and we take turns to write the same file, and then read the same in it.
func TestAlternation(t *testing.T) {
	for seed := range uint64(2) {
		path := filepath.Join(t.TempDir(), "Data.fs")
		rng := rand.New(rand.NewPCG(seed, 1))
		for round := range 4 {
			if (round+int(seed))%2 == 0 {
				mustPython(t, "extend", path, fmt.Sprint(seed*100+uint64(round)), "40")
			}
			s := openStore(t, path)
			extend(t, s, rng, 40)
			b := ours(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			a := theirs(t, path)
			if !a.UsedIndex {
				t.Error("Python did not take our index")
			}
			compare(t, fmt.Sprintf("seed %d, round %d", seed, round), a, b)
			s = openStore(t, path)
			compare(t, "opened again", a, ours(t, s))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A pack without garbage collection leaves the same bytes as Python's; one with
// it the same contents where nothing was written after the pack time.
func TestPackLikePython(t *testing.T) {
	packs := 0
	for seed := range uint64(4) {
		dir := t.TempDir()
		path := filepath.Join(dir, "Data.fs")
		mustPython(t, "extend", path, fmt.Sprint(seed), "60")
		txns := theirs(t, path).Transactions
		for _, i := range []int{0, len(txns) / 2, len(txns) - 1} {
			for _, gc := range []string{"0", "1"} {
				if packBoth(t, dir, path, txns[i].TID, gc) {
					packs++
				}
			}
		}
	}
	if packs < 14 {
		t.Errorf("Python managed only %d of 24 packs", packs)
	}
}

func packBoth(t *testing.T, dir, path, tid, gc string) bool {
	t.Helper()
	name := fmt.Sprintf("%s-%s", tid, gc)
	a, b := filepath.Join(dir, name+"-python.fs"), filepath.Join(dir, name+"-zari.fs")
	copyTo(t, path, a)
	copyTo(t, path, b)
	if _, err := python(t, "pack", a, tid, gc); err != nil {
		if !strings.Contains(err.Error(), "AssertionError") && !strings.Contains(err.Error(), "KeyError") {
			t.Fatal(err)
		}
		return false // back pointers to what was not kept, or dangling references
	}
	engine, err := filestorage.Open(filestorage.Options{Path: b, FS: vfs.NoSync(vfs.OS()), References: references})
	if err != nil {
		t.Fatal(err)
	}
	at, err := hex.DecodeString(tid)
	if err != nil {
		t.Fatal(err)
	}
	packTID, err := zodb.ParseTID(at)
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Pack(t.Context(), packTID, zodb.PackOptions{GC: gc == "1"}); err != nil {
		t.Fatal(err)
	}
	if err := engine.Close(); err != nil {
		t.Fatal(err)
	}
	if gc == "0" {
		if !bytes.Equal(content(t, a), content(t, b)) {
			t.Errorf("seed file %s: the packed files differ", name)
		}
		return true
	}
	keptAll(t, theirs(t, a), theirs(t, b))
	return true
}

// keptAll checks that our pack has every record that Python's has. It may have
// more: what later transactions refer to is kept too.
func keptAll(t *testing.T, python, zari contents) {
	t.Helper()
	type key struct{ tid, oid string }
	have := make(map[key]string)
	for _, txn := range zari.Transactions {
		for _, r := range txn.Records {
			have[key{txn.TID, r.OID}] = txn.Status + deref(r.Data)
		}
	}
	for _, txn := range python.Transactions {
		for _, r := range txn.Records {
			if got, want := have[key{txn.TID, r.OID}], txn.Status+deref(r.Data); got != want {
				t.Errorf("transaction %s, object %s: %q, and Python has %q", txn.TID, r.OID, got, want)
			}
		}
	}
	if last := len(python.Transactions) - 1; python.Transactions[last].Status == "p" {
		compare(t, "packed with gc up to the end", python, zari)
	}
}

func deref(s *string) string {
	if s == nil {
		return "deleted"
	}
	return *s
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	if err := os.WriteFile(to, content(t, from), 0o600); err != nil {
		t.Fatal(err)
	}
}
