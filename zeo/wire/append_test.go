package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// readOnly are goldens that hold what is never written.
var readOnly = map[string]bool{"undo-prefix": true, "undo-prefix-old": true, "begin-set": true}

// TestAppendPython writes every golden message and wants Python's bytes.
func TestAppendPython(t *testing.T) {
	want := expected()
	for _, g := range goldens(t) {
		if readOnly[g.name] {
			continue
		}
		p := want[g.name]
		id, err := g.codec.appendAny(nil, p.id)
		if err != nil {
			t.Fatal(err)
		}
		var frame []byte
		switch {
		case p.flag == int64(FlagError):
			frame = g.codec.AppendError(nil, id, pyError(p.args.(tuple)))
		case p.method == Reply:
			frame, err = g.codec.AppendReply(nil, id, p.args)
		case p.flag == true:
			frame, err = g.codec.AppendOneWay(nil, p.method, p.args.(tuple)...)
		default:
			frame, err = g.codec.AppendCall(nil, p.id, p.method, p.args.(tuple)...)
		}
		if err != nil {
			t.Errorf("%v %s: %v", g.codec, g.name, err)
			continue
		}
		checkFrame(t, g.codec.String()+" "+g.name, frame, g.frame)
	}
}

func pyError(t tuple) error {
	e := &PyError{Class: t[0].(string)}
	if args, ok := t[1].(tuple); ok {
		e.Args = args
	} else {
		e.Detail = t[1]
	}
	return e
}

func checkFrame(t *testing.T, name string, frame, want []byte) {
	t.Helper()
	if !bytes.Equal(frame, AppendFrame(nil, want)) {
		t.Errorf("%s:\n got %x\nwant %x", name, frame[headerSize:], want)
	}
}

// TestAppendHot wants the bytes of Python from the functions for one message each.
func TestAppendHot(t *testing.T) {
	conflict := &zodb.ConflictError{OID: theOID, Committed: theNxt, Read: theTID}
	read := &zodb.ConflictError{OID: theOID, Committed: theNxt, Read: theTID, Check: true}
	undo := &zodb.UndoError{OID: theOID, HasOID: true, Reason: "in the way"}
	for _, c := range []Codec{Pickle, Msgpack} {
		id := func(n int64) RawID { return c.int(nil, n) }
		pair, err := c.appendAny(nil, tuple{oid, tid})
		if err != nil {
			t.Fatal(err)
		}
		one := id(1)
		for name, frame := range map[string][]byte{
			"load-int":            c.AppendLoadBefore(nil, 70000, theOID, theTID),
			"store":               c.AppendStore(nil, theOID, theTID, data, txn),
			"store-small":         c.AppendStore(nil, theOID, 0, []byte("x"), 7),
			"begin":               c.AppendBegin(nil, txn, []byte("/ j\xc3\xbcrg"), []byte("a note")),
			"vote":                c.AppendVote(nil, 3, txn),
			"vote-small":          c.AppendVote(nil, 3, 65536),
			"finish":              c.AppendFinish(nil, 300, txn),
			"heartbeat":           c.AppendHeartbeat(nil),
			"reply-none":          c.AppendNone(nil, id(2)),
			"reply-load":          c.AppendLoad(nil, pair, zodb.Record{Data: data, Serial: theTID, Next: theNxt}),
			"reply-load-current":  c.AppendLoad(nil, id(9), zodb.Record{Data: []byte("abc"), Serial: theTID}),
			"reply-data":          c.AppendBytes(nil, id(9), data),
			"reply-tid":           c.AppendTID(nil, id(300), theTID),
			"reply-empty-list":    c.AppendOIDs(nil, id(3), nil),
			"reply-oids-1":        c.AppendOIDs(nil, id(3), []zodb.OID{theOID}),
			"reply-oids-2":        c.AppendOIDs(nil, id(3), []zodb.OID{theOID, zodb.OID(theNxt)}),
			"reply-oids-1001":     c.AppendOIDs(nil, id(3), manyOIDs()),
			"invalidate":          c.AppendInvalidation(nil, theTID, []zodb.OID{theOID}),
			"invalidate-2":        c.AppendInvalidation(nil, theTID, []zodb.OID{theOID, zodb.OID(theNxt)}),
			"info":                c.AppendInfo(nil, 70000, 1<<40),
			"blob-chunk":          c.AppendBlobChunk(nil, theOID, theTID, data),
			"error-poskey":        c.AppendError(nil, one, &zodb.NoObjectError{OID: theOID, Before: 3}),
			"error-conflict":      c.AppendError(nil, one, conflict),
			"error-read-conflict": c.AppendError(nil, one, &zodb.OpError{Op: "vote", Err: read}),
			"error-read-only":     c.AppendError(nil, one, zodb.ErrReadOnly),
			"error-txn":           c.AppendError(nil, one, &zodb.TxnError{Op: "vote", State: "voted"}),
			"error-undo":          c.AppendError(nil, one, &zodb.UndoError{Reason: "no such transaction"}),
			"error-undos":         c.AppendError(nil, one, errors.Join(undo)),
			"error-key":           c.AppendError(nil, one, NewPyError(KeyError, 5)),
		} {
			checkFrame(t, c.String()+" "+name, frame, goldenFrame(t, c, name))
		}
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	before := []byte("before")
	for _, c := range []Codec{Pickle, Msgpack} {
		id := c.int(nil, 1)
		for _, v := range []any{make(chan int), &pickle.Global{Module: "os", Name: "system"}, &pickle.Ref{}, &pickle.Object{}} {
			out, err := c.AppendReply(before, id, []any{"x", v})
			if err == nil || string(out) != "before" {
				t.Errorf("%v: %T gives %q, %v", c, v, out, err)
			}
		}
		out := c.AppendError(before, id, NewPyError(ValueError, make(chan int)))
		m, err := c.Decode(out[len(before)+headerSize:])
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := errors.AsType[*PyError](m.Err()); !ok || e.Class != ValueError || len(e.Args) != 1 {
			t.Errorf("%v: an error with arguments that cannot be sent arrives as %v", c, m.Err())
		}
	}
}

// TestAppendBounded writes a tree that is cyclic.
func TestAppendBounded(t *testing.T) {
	cycle := list(int64(1))
	cycle.Items = append(cycle.Items, cycle)
	if _, err := Pickle.AppendReply(nil, pickleZero, cycle); !errors.Is(err, pickle.ErrDepth) {
		t.Errorf("pickle: %v", err)
	}
	if _, err := Msgpack.AppendReply(nil, msgpackZero, cycle); err == nil {
		t.Error("msgpack writes a cycle")
	}
}
