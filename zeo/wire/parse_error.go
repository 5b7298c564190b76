package wire

import (
	"errors"
	"fmt"
	"strings"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// ParseError returns the Go error that a received one stands for: the types of
// package zodb where Python's class has one, else a *[PyError].
func ParseError(class string, detail any) error {
	plain := &PyError{Class: class}
	switch d := detail.(type) {
	case pickle.Tuple:
		plain.Args = d
		return parseArgs(plain)
	case *pickle.List: // args as some encoders have them
		plain.Args = d.Items
		return parseArgs(plain)
	case *pickle.Dict:
		plain.Detail = d
		return parseAttributes(plain, d)
	}
	plain.Detail = detail
	return plain
}

func parseArgs(e *PyError) error {
	switch e.Class {
	case POSKeyError:
		if oid, ok := oidArg(e.Args); ok {
			missing := &zodb.NoObjectError{OID: oid}
			if len(e.Args) > 1 { // of Python only from loadSerial, where it is the serial asked for
				missing.DeletedAt = asTID(e.Args[1])
			}
			return missing
		}
		return &codedError{PyError: e, state: &zodb.NoObjectError{}} // of a blob: a message, and what was asked for
	case ReadOnlyError:
		if textArg(e.Args, 0) == notPrimary {
			return zodb.ErrNotPrimary
		}
		return zodb.ErrReadOnly
	case StorageTransactionError:
		return parseTxnError(textArg(e.Args, 0))
	case NotImplementedError:
		return &codedError{PyError: e, state: errors.ErrUnsupported}
	case StorageSystemError:
		code := textArg(e.Args, 1)
		for _, c := range codes {
			if code == c.code {
				return &codedError{PyError: e, state: c.err}
			}
		}
	}
	return e
}

// passedConflict keeps the attributes that a conflict came with, for those of whom a
// server is itself a client: the object's class, and where a BTree's merge failed.
type passedConflict struct {
	*zodb.ConflictError
	sent *PyError
}

func (e *passedConflict) Unwrap() []error { return []error{e.ConflictError, e.sent} }

// codedError is a PyError that also matches another error.
type codedError struct {
	*PyError
	state error
}

func (e *codedError) Unwrap() []error { return []error{e.state, e.PyError} }

func oidArg(args pickle.Tuple) (zodb.OID, bool) {
	if len(args) == 0 {
		return 0, false
	}
	return asOID(args[0])
}

func asOID(v any) (zodb.OID, bool) {
	b, _ := pickle.Bytes(v)
	oid, err := zodb.ParseOID(b)
	return oid, err == nil
}

func asTID(v any) zodb.TID {
	b, _ := pickle.Bytes(v)
	tid, _ := zodb.ParseTID(b)
	return tid
}

func textArg(args pickle.Tuple, i int) string {
	if i >= len(args) {
		return ""
	}
	s, _ := pickle.Text(args[i])
	return s
}

func parseTxnError(message string) error {
	if op, state, ok := strings.Cut(message, ": the transaction is "); ok {
		return &zodb.TxnError{Op: op, State: state}
	}
	return &zodb.TxnError{State: message}
}

func parseAttributes(e *PyError, d *pickle.Dict) error {
	switch e.Class {
	case ConflictError, ReadConflictError, BTreesConflictError:
		c := parseConflict(e.Class, d)
		if class, _ := d.Get("class_name"); class != nil || e.Class == BTreesConflictError {
			return &passedConflict{ConflictError: c, sent: e}
		}
		return c
	case MultipleUndoErrors:
		if err := parseUndo(d); err != nil {
			return err
		}
	case UndoError:
		reason, _ := d.Get("_reason")
		text, _ := pickle.Text(reason)
		u := &zodb.UndoError{Reason: text}
		oid, _ := d.Get("_oid")
		u.OID, u.HasOID = asOID(oid)
		return u
	}
	return e
}

func parseConflict(class string, d *pickle.Dict) *zodb.ConflictError {
	c := &zodb.ConflictError{Check: class == ReadConflictError}
	oid, _ := d.Get("oid")
	c.OID, _ = asOID(oid)
	if serials, _ := d.Get("serials"); serials != nil {
		if t, ok := serials.(pickle.Tuple); ok && len(t) == 2 {
			c.Committed, c.Read = asTID(t[0]), asTID(t[1])
		}
	}
	if reason, ok := d.Get("reason"); ok { // a BTreesConflictError; the number is in its list of messages
		c.Reason = fmt.Sprintf("BTrees reason %v", reason)
		return c
	}
	message, _ := d.Get("message")
	text, _ := pickle.Text(message)
	text = strings.TrimPrefix(text, readConflictMessage)
	c.Reason = strings.TrimPrefix(strings.TrimPrefix(text, conflictMessage), ": ")
	return c
}

// parseUndo makes one error of the objects in the way, nil if there are none.
func parseUndo(d *pickle.Dict) error {
	list, _ := d.Get("_errs")
	var items []any
	switch l := list.(type) {
	case *pickle.List:
		items = l.Items
	case pickle.Tuple:
		items = l
	}
	var errs []error
	for _, item := range items {
		t, ok := item.(pickle.Tuple)
		if !ok || len(t) != 2 {
			continue
		}
		u := &zodb.UndoError{}
		u.OID, u.HasOID = asOID(t[0])
		u.Reason = undoReason(t[1])
		errs = append(errs, u)
	}
	return errors.Join(errs...)
}

// undoReason reads the second half of a pair: text from Zari, and from Python's
// server a class with its attributes in msgpack, a pickled exception in pickle.
func undoReason(v any) string {
	if o, ok := v.(*pickle.Object); ok && len(o.Args) == 2 { // _recon(class, attributes)
		if d, ok := o.Args[1].(*pickle.Dict); ok {
			v, _ = d.Get("_reason")
		}
	}
	if t, ok := v.(pickle.Tuple); ok && len(t) == 2 {
		if d, ok := t[1].(*pickle.Dict); ok {
			v, _ = d.Get("_reason")
		}
	}
	s, _ := pickle.Text(v)
	return s
}
