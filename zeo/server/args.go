package server

import (
	"bytes"
	"fmt"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

func typeError(format string, args ...any) error {
	return wire.NewPyError(wire.TypeError, fmt.Sprintf(format, args...))
}

// textOrBytes returns a copy of argument i, which is bytes, or the text that
// Python 2 clients send for them.
func textOrBytes(m *wire.Message, i int) ([]byte, error) {
	b, err := m.Bytes(i)
	if err != nil {
		text, textErr := m.Text(i)
		if textErr != nil {
			return nil, err
		}
		return []byte(text), nil
	}
	return bytes.Clone(b), nil
}

// oidSerial reads the arguments (oid, serial, ...). None, or an empty text, is the
// serial of a new object.
func oidSerial(m *wire.Message) (zodb.OID, zodb.TID, error) {
	oid, err := m.OID(0)
	if err != nil {
		return 0, 0, err
	}
	if b, err := textOrBytes(m, 1); err == nil && len(b) == 0 {
		return oid, 0, nil
	}
	serial, err := m.OptTID(1)
	return oid, serial, err
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
	return d
}
