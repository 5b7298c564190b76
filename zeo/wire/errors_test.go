package wire

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// sent returns the error as the other side gets it.
func sent(t *testing.T, c Codec, err error) error {
	t.Helper()
	m, derr := c.Decode(c.AppendError(nil, c.zero(), err)[headerSize:])
	if derr != nil {
		t.Fatal(derr)
	}
	return m.Err()
}

func TestErrorsComeBack(t *testing.T) {
	for _, c := range []Codec{Pickle, Msgpack} {
		for _, want := range []error{
			&zodb.NoObjectError{OID: 5},
			&zodb.NoObjectError{OID: 5, DeletedAt: 6},
			&zodb.ConflictError{OID: 5, Committed: 7, Read: 6},
			&zodb.ConflictError{OID: 5, Committed: 7, Read: 6, Check: true},
			&zodb.ConflictError{OID: 5, Committed: 7, Read: 6, Reason: "two splits"},
			&zodb.ConflictError{OID: 5, Committed: 7, Read: 6, Check: true, Reason: "waited too long"},
			&zodb.UndoError{Reason: "packed"},
			&zodb.TxnError{Op: "vote", State: "voted"},
			NewPyError(KeyError, int64(5)),
			NewPyError(TypeError, "bad", nil),
			NewPyError(AssertionError),
		} {
			got := sent(t, c, fmt.Errorf("wrapped: %w", want))
			if d := cmp.Diff(want, got, sameTrees); d != "" {
				t.Errorf("%v: %v: %s", c, want, d)
			}
		}
	}
}

func TestStatesComeBack(t *testing.T) {
	for _, c := range []Codec{Pickle, Msgpack} {
		for _, want := range []error{
			zodb.ErrReadOnly, zodb.ErrNotPrimary, zodb.ErrClosed, zodb.ErrCommitUnknown, zodb.ErrUnknownPosition,
			zodb.ErrCorrupt, zodb.ErrNoSpace, errors.ErrUnsupported, context.DeadlineExceeded, context.Canceled,
		} {
			got := sent(t, c, fmt.Errorf("somewhere: %w", want))
			if !errors.Is(got, want) {
				t.Errorf("%v: %v comes back as %v", c, want, got)
			}
		}
		corrupt := &zodb.CorruptError{File: "Data.fs", Record: "header", Offset: 4, Err: errors.New("x")}
		if got := sent(t, c, corrupt); !errors.Is(got, zodb.ErrCorrupt) {
			t.Errorf("%v: %v comes back as %v", c, corrupt, got)
		}
		e, ok := errors.AsType[*PyError](sent(t, c, errors.New("strange")))
		if !ok || e.Class != StorageSystemError || e.Args[0] != "strange" {
			t.Errorf("%v: an unknown error comes back as %v", c, e)
		}
	}
}

func TestUndoErrorsComeBack(t *testing.T) {
	a := &zodb.UndoError{TID: 9, OID: 5, HasOID: true, Reason: "changed since"}
	b := &zodb.UndoError{TID: 9, OID: 6, HasOID: true, Reason: "gone"}
	for _, c := range []Codec{Pickle, Msgpack} {
		got := undoErrors(sent(t, c, fmt.Errorf("undo: %w", errors.Join(a, errors.New("other"), b))), nil)
		want := []*zodb.UndoError{{OID: 5, HasOID: true, Reason: a.Reason}, {OID: 6, HasOID: true, Reason: b.Reason}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%v: %s", c, d)
		}
	}
}

// TestForeignErrors reads what only Python's server sends.
func TestForeignErrors(t *testing.T) {
	btrees := ParseError(BTreesConflictError, pickle.NewDict(
		"oid", oid, "serials", tuple{next, tid}, "message", conflictMessage, "reason", int64(4)))
	want := &zodb.ConflictError{OID: theOID, Committed: theNxt, Read: theTID, Reason: "BTrees reason 4"}
	if k, _ := errors.AsType[*zodb.ConflictError](btrees); cmp.Diff(want, k) != "" {
		t.Errorf("got %v, want %v", btrees, want)
	}
	nested := ParseError(MultipleUndoErrors, pickle.NewDict("_errs", tuple{
		tuple{oid, tuple{UndoError, pickle.NewDict("_reason", "why")}}}))
	if u, ok := errors.AsType[*zodb.UndoError](nested); !ok || u.Reason != "why" || u.OID != theOID {
		t.Errorf("got %v", nested)
	}
	for _, detail := range []any{nil, int64(3), tuple{}, tuple{"short"}, pickle.NewDict(), pickle.NewDict("_errs", nil)} {
		for _, class := range []string{"", POSKeyError, ConflictError, MultipleUndoErrors, StorageTransactionError, "x.Y"} {
			if err := ParseError(class, detail); err == nil || err.Error() == "" {
				t.Errorf("%s with %v is no error", class, detail)
			}
		}
	}
}

func TestPrefix(t *testing.T) {
	whole, old := Prefix{Value: "/a/b", whole: true}, Prefix{Value: "/a/b"}
	for text, want := range map[string][2]bool{
		"/a/b me":   {true, true},
		"/a/b":      {true, true},
		"/a/b/c me": {true, true},
		"/a/bc me":  {false, true},
		"/a me":     {false, false},
		"":          {false, false},
	} {
		if got := [2]bool{whole.Match(text), old.Match(text)}; got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// What Python's server says of an undo, in pickle:
// MultipleUndoErrors([(oid, UndoError(reason, oid))]).
func TestUndoErrorsOfPython(t *testing.T) {
	frame := "\x80\x03(K\x01K\x02X\x06\x00\x00\x00.replyX$\x00\x00\x00ZODB.POSException.MultipleUndoErrors}X\x05\x00\x00\x00_errs" +
		"]C\x08\x00\x00\x00\x00\x00\x00\x00\x01cZODB.POSException\n_recon\ncZODB.POSException\nUndoError\n}(X\x07\x00\x00\x00_reason" +
		"X\x04\x00\x00\x00goneX\x04\x00\x00\x00_oidC\x08\x00\x00\x00\x00\x00\x00\x00\x01u\x86R\x86as\x86t."
	m, err := Pickle.Decode([]byte(frame))
	if err != nil {
		t.Fatal(err)
	}
	want := []*zodb.UndoError{{OID: 1, HasOID: true, Reason: "gone"}}
	if d := cmp.Diff(want, undoErrors(m.Err(), nil)); d != "" {
		t.Error(d)
	}
}

// The class of the object in conflict goes through a server that is itself a client.
func TestConflictsPassOn(t *testing.T) {
	for _, c := range []Codec{Pickle, Msgpack} {
		first := &PyError{Class: ConflictError, Detail: pickle.NewDict(
			"message", conflictMessage, "oid", zodb.OID(1), "class_name", "app.Counter", "serials", pickle.Tuple{zodb.TID(3), zodb.TID(2)})}
		again := sent(t, c, sent(t, c, first))
		k, ok := errors.AsType[*zodb.ConflictError](again)
		if !ok || k.OID != 1 || k.Committed != 3 || k.Read != 2 {
			t.Errorf("%v: %v", c, again)
		}
		e, ok := errors.AsType[*PyError](again)
		if !ok {
			t.Fatalf("%v: %v", c, again)
		}
		class, _ := e.Detail.(*pickle.Dict).Get("class_name")
		if class != "app.Counter" {
			t.Errorf("%v: the class comes as %v", c, class)
		}
	}
}
