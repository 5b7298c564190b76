package server

import (
	"fmt"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

func typeError(format string, args ...any) error {
	return wire.NewPyError(wire.TypeError, fmt.Sprintf(format, args...))
}

// oidSerial reads the arguments (oid, serial, ...). None, or an empty text, is the
// serial of a new object; text of eight characters passes for bytes, as it does in
// Python where the object is new.
func oidSerial(m *wire.Message) (zodb.OID, zodb.TID, error) {
	oid, err := m.OID(0)
	if err != nil {
		return 0, 0, err
	}
	if m.IsNone(1) {
		return oid, 0, nil
	}
	b, err := m.TextOrBytes(1)
	if err != nil || len(b) == 0 {
		return oid, 0, err
	}
	serial, err := zodb.ParseTID(b)
	if err != nil {
		return 0, 0, typeError("a serial is 8 bytes")
	}
	return oid, serial, nil
}

// extensionDict reads a transaction's extension. What cannot be read is left out:
// it is somebody's note, and no reason to withhold the transaction.
func extensionDict(ext []byte) *pickle.Dict {
	if len(ext) == 0 {
		return pickle.NewDict()
	}
	d, err := pickle.DecodeDict(ext)
	if err != nil {
		return pickle.NewDict()
	}
	for i := range d.Entries {
		d.Entries[i].Value = plainValue(d.Entries[i].Value)
	}
	return d
}

// plainValue replaces what clients refuse to read, because it would make them
// import something, by a text that says what it was.
func plainValue(v any) any {
	if _, err := pickle.AppendPlain(nil, v); err == nil {
		return v
	}
	if o, ok := v.(*pickle.Object); ok {
		if g, ok := o.Class.(*pickle.Global); ok {
			return "<" + g.String() + ">"
		}
	}
	return fmt.Sprintf("<%T>", v)
}
