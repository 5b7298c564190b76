package storagetest

import (
	"bytes"
	"encoding/binary"

	"github.com/zaridb/zari/zodb"
)

// Object returns a record as ZODB writes one: the pickle of a class, then the
// pickle of a state, which is a dict with the key "value" and, for every
// reference, a persistent reference under its place as key. Storages that look
// into records (packing, merging, compressing) thus find what they expect; the
// class is one that nobody can merge.
func Object(value int, refs ...zodb.OID) []byte {
	return appendState([]byte(objectClass), value, refs)
}

// ObjectOf is Object with n bytes of payload, which compress a little.
func ObjectOf(value, n int) []byte {
	b := []byte(objectClass)
	b = append(b, "\x80\x03}(X\x05\x00\x00\x00valueJ"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(value))
	b = append(b, "X\x07\x00\x00\x00payloadB"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	for i := range n {
		b = append(b, byte(value+i*i/7))
	}
	return append(b, "u."...)
}

const (
	// GLOBAL in protocol 3, stopped.
	objectClass = "\x80\x03cstoragetest\nObject\n."
	valuePrefix = "X\x05\x00\x00\x00valueJ"
)

// appendState appends a dict of an int and of references, each the tuple (oid,
// class) given to BINPERSID.
func appendState(b []byte, value int, refs []zodb.OID) []byte {
	b = append(b, "\x80\x03}("+valuePrefix...)
	b = binary.LittleEndian.AppendUint32(b, uint32(value))
	for i, ref := range refs {
		b = append(b, 'K', byte(i))
		oid := ref.Bytes()
		b = append(b, "C\x08"...)
		b = append(b, oid[:]...)
		b = append(b, "cstoragetest\nObject\n\x86Q"...)
	}
	return append(b, "u."...)
}

// valueOf returns the value of a record made by Object or ObjectOf, -1 for any
// other.
func valueOf(data []byte) int {
	i := bytes.Index(data, []byte(valuePrefix))
	if i < 0 || len(data) < i+len(valuePrefix)+4 {
		return -1
	}
	return int(int32(binary.LittleEndian.Uint32(data[i+len(valuePrefix):])))
}
