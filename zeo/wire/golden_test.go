package wire

import (
	"bufio"
	"encoding/hex"
	"math/big"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// golden is one line of testdata/messages.txt.
type golden struct {
	codec Codec
	name  string
	frame []byte
}

func goldens(t testing.TB) []golden {
	all, err := readGoldens()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var readGoldens = sync.OnceValues(func() (all []golden, err error) {
	f, err := os.Open("testdata/messages.txt")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		parts := strings.Fields(lines.Text())
		frame, err := hex.DecodeString(parts[2])
		if err != nil {
			return nil, err
		}
		all = append(all, golden{Codec(parts[0][0]), parts[1], frame})
	}
	return all, lines.Err()
})

func goldenFrame(t testing.TB, c Codec, name string) []byte {
	for _, g := range goldens(t) {
		if g.codec == c && g.name == name {
			return g.frame
		}
	}
	t.Fatalf("no golden %c %s", c, name)
	return nil
}

// The values of testdata/gen.py.
var (
	oid    = []byte{0, 0, 0, 0, 0, 0, 0, 7}
	tid    = []byte{0, 1, 2, 3, 4, 5, 6, 7}
	next   = []byte{1, 2, 3, 4, 5, 6, 7, 8}
	data   = everyByte()
	txn    = int64(140234567890123)
	theOID = zodb.OID(7)
	theTID = zodb.TID(0x0001020304050607)
	theNxt = zodb.TID(0x0102030405060708)
)

func everyByte() []byte {
	b := make([]byte, 1024)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// parts are the four parts of a message, as full decoding gives them.
type parts struct {
	id     any
	flag   any
	method string
	args   any
}

type tuple = pickle.Tuple

func call(id any, method string, args ...any) parts {
	return parts{id, false, method, tuple(args)}
}

func oneWay(method string, args ...any) parts {
	return parts{int64(0), true, method, tuple(args)}
}

func reply(id, result any) parts { return parts{id, int64(0), Reply, result} }

func failure(class string, detail any) parts {
	return parts{int64(1), int64(2), Reply, tuple{class, detail}}
}

var (
	dict = pickle.NewDict
	list = pickle.NewList
)

func manyOIDs() []zodb.OID {
	oids := make([]zodb.OID, 1001)
	for i := range oids {
		oids[i] = zodb.OID(i)
	}
	return oids
}

func manyOIDBytes() *pickle.List {
	l := &pickle.List{}
	for _, oid := range manyOIDs() {
		b := oid.Bytes()
		l.Items = append(l.Items, b[:])
	}
	return l
}

// expected says what each golden message holds.
func expected() map[string]parts {
	user := []byte("/ j\xc3\xbcrg")
	serials := tuple{next, tid}
	return map[string]parts{
		"load":         call(tuple{oid, tid}, "loadBefore", oid, tid),
		"load-int":     call(int64(70000), "loadBefore", oid, tid),
		"register":     call(int64(1), "register", "1", false),
		"ping":         call(int64(2), "ping"),
		"begin":        oneWay("tpc_begin", txn, user, []byte("a note"), dict(), nil, " "),
		"begin-ext":    oneWay("tpc_begin", int64(5), []byte{}, []byte{}, dict("request_type", "view", "n", int64(-3)), nil, " "),
		"begin-one":    oneWay("tpc_begin", int64(5), []byte{}, []byte{}, dict("a", int64(1)), tid, "p"),
		"begin-deep":   oneWay("tpc_begin", int64(5), []byte{}, []byte{}, dict("a", list(int64(1), dict("b", 2.5))), nil, " "),
		"store":        oneWay("storea", oid, tid, data, txn),
		"store-small":  oneWay("storea", oid, make([]byte, 8), []byte("x"), int64(7)),
		"check":        oneWay("checkCurrentSerialInTransaction", oid, tid, txn),
		"restore":      oneWay("restorea", oid, tid, nil, nil, int64(5)),
		"vote":         call(int64(3), "vote", txn),
		"vote-small":   call(int64(3), "vote", int64(65536)),
		"finish":       call(int64(300), "tpc_finish", txn),
		"abort":        call(int64(4), "tpc_abort", int64(-5)),
		"gc":           oneWay("iterator_gc", list(int64(1), int64(2), int64(3))),
		"pack":         call(int64(5), "pack", 1234567890.25, true),
		"new-oids":     call(int64(6), "new_oids", int64(100)),
		"history-none": call(int64(7), "history", nil, nil),
		"undo-spec":    call(int64(8), "undoInfo", int64(0), int64(-20), dict("user_name", "/ me")),
		"undo-prefix": call(int64(8), "undoInfo", int64(0), int64(-20),
			dict("user_name", Prefix{Value: "/site", whole: true})),
		"undo-prefix-old": call(int64(8), "undoInfo", int64(0), int64(-20), dict("user_name", Prefix{Value: "/site"})),
		"begin-set": oneWay("tpc_begin", int64(5), []byte{}, []byte{},
			dict("s", &pickle.Object{Class: &pickle.Global{Module: "builtins", Name: "set"}, Args: tuple{list(int64(1))}}), nil, " "),
		"big":                reply(int64(1), new(big.Int).Lsh(big.NewInt(1), 70)),
		"heartbeat":          reply(int64(-1), nil),
		"reply-none":         reply(int64(2), nil),
		"reply-load":         reply(tuple{oid, tid}, tuple{data, tid, next}),
		"reply-load-current": reply(int64(9), tuple{[]byte("abc"), tid, nil}),
		"reply-data":         reply(int64(9), data),
		"reply-tid":          reply(int64(300), tid),
		"reply-empty-list":   reply(int64(3), list()),
		"reply-oids-1":       reply(int64(3), list(oid)),
		"reply-oids-2":       reply(int64(3), list(oid, next)),
		"reply-oids-1001":    reply(int64(3), manyOIDBytes()),
		"reply-conflicts":    reply(int64(3), list(dict("oid", oid, "serials", tuple{tid, next}, "data", data))),
		"reply-info": reply(int64(1), dict("length", int64(3), "size", int64(1)<<33, "name", "Data.fs",
			"supportsUndo", true, "interfaces", tuple{tuple{"a", "b"}})),
		"reply-tree": reply(int64(4), list(int64(0), int64(255), int64(256), int64(65535), int64(65536), int64(-1),
			int64(-128), int64(-129), int64(1<<31-1), int64(1<<31), int64(-1<<31), int64(-1<<31-1), int64(1<<63-1),
			int64(-1<<63), 1.5, true, nil, "", []byte{}, "ü😀", tuple{}, tuple{int64(1)}, tuple{int64(1), int64(2)},
			tuple{int64(1), int64(2), int64(3)}, tuple{int64(1), int64(2), int64(3), int64(4)}, list(), dict(),
			dict(int64(1), int64(2)), strings.Repeat("x", 300))),
		"invalidate":   oneWay("invalidateTransaction", tid, list(oid)),
		"invalidate-2": oneWay("invalidateTransaction", tid, list(oid, next)),
		"info":         oneWay("info", dict("length", int64(70000), "size", int64(1)<<40)),
		"blob-chunk":   oneWay("receiveBlobChunk", oid, tid, data),
		"error-poskey": failure(POSKeyError, tuple{oid}),
		"error-conflict": failure(ConflictError, dict("message", "database conflict error", "oid", oid,
			"class_name", nil, "serials", serials)),
		"error-read-conflict": failure(ReadConflictError, dict("message", "database read conflict error", "oid", oid,
			"class_name", nil, "serials", serials)),
		"error-read-only": failure(ReadOnlyError, tuple{}),
		"error-txn":       failure(StorageTransactionError, tuple{"vote: the transaction is voted"}),
		"error-undo":      failure(UndoError, dict("_reason", "no such transaction", "_oid", nil)),
		"error-undos":     failure(MultipleUndoErrors, dict("_errs", list(tuple{oid, "in the way"}))),
		"error-key":       failure(KeyError, tuple{int64(5)}),
		"error-type":      failure(TypeError, tuple{"bad"}),
	}
}

// msgpackForm is v as msgpack can tell it: lists are tuples.
func msgpackForm(v any) any {
	switch v := v.(type) {
	case *pickle.List:
		return msgpackForm(tuple(v.Items))
	case tuple:
		t := make(tuple, len(v))
		for i := range v {
			t[i] = msgpackForm(v[i])
		}
		return t
	case *pickle.Dict:
		d := dict()
		for _, e := range v.Entries {
			d.Entries = append(d.Entries, pickle.Entry{Key: e.Key, Value: msgpackForm(e.Value)})
		}
		return d
	}
	return v
}

// sameTrees lets empty and nil slices be equal, and compares big numbers.
var sameTrees = cmp.Options{
	cmp.AllowUnexported(Prefix{}),
	cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }),
	cmp.Transformer("list", func(l *pickle.List) []any { return append([]any{}, l.Items...) }),
	cmp.Transformer("dict", func(d *pickle.Dict) []pickle.Entry { return append([]pickle.Entry{}, d.Entries...) }),
	cmp.Transformer("tuple", func(t pickle.Tuple) []any { return append([]any{"tuple"}, t...) }),
}

// partsOf reads back everything that Parse left in m.
func partsOf(t testing.TB, c Codec, m *Message) parts {
	id, err := c.decodeValue(m.ID)
	if err != nil {
		t.Fatalf("id %x: %v", m.ID, err)
	}
	result, err := m.Result()
	if err != nil {
		t.Fatal(err)
	}
	p := parts{id, m.Flag, m.Method, result}
	if m.Method != Reply {
		p.flag = m.Async
	}
	return p
}

func TestParsePython(t *testing.T) {
	want := expected()
	for _, g := range goldens(t) {
		t.Run(g.codec.String()+"/"+g.name, func(t *testing.T) {
			w, ok := want[g.name]
			if !ok {
				t.Fatal("no expectation")
			}
			if g.codec == Msgpack {
				w.args = msgpackForm(w.args)
			}
			m, err := g.codec.Decode(g.frame)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(w, partsOf(t, g.codec, m), sameTrees, cmp.AllowUnexported(parts{})); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestFlatAndTreeAgree reads every golden pickle by both ways.
func TestFlatAndTreeAgree(t *testing.T) {
	slow := map[string]bool{ // what flat leaves to the full reader
		"begin-deep": true, "undo-prefix": true, "undo-prefix-old": true, "begin-set": true, "big": true,
		"reply-conflicts": true, "reply-info": true, "reply-tree": true,
		"error-conflict": true, "error-read-conflict": true, "error-undos": true,
		"error-poskey": true, "error-read-only": true, "error-txn": true, "error-key": true, "error-type": true,
	}
	for _, g := range goldens(t) {
		if g.codec != Pickle {
			continue
		}
		f, s := &Message{codec: Pickle}, &Message{codec: Pickle}
		if got := parsePickle(g.frame, f); got == slow[g.name] {
			t.Errorf("%s: read without a tree: %v, want %v", g.name, got, !slow[g.name])
			continue
		}
		if slow[g.name] {
			continue
		}
		if err := parsePickleTree(g.frame, s); err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		a, b := partsOf(t, Pickle, f), partsOf(t, Pickle, s)
		if d := cmp.Diff(a, b, sameTrees, cmp.AllowUnexported(parts{})); d != "" {
			t.Errorf("%s: %s", g.name, d)
		}
		if string(f.ID) != string(s.ID) || f.Tuple != s.Tuple || f.isInt != s.isInt {
			t.Errorf("%s: id %x tuple %v, by the tree %x %v", g.name, f.ID, f.Tuple, s.ID, s.Tuple)
		}
	}
}
