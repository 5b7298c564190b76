package memcached

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/url"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/zaridb/zari/zodb"
)

// An entry is
//
//	4 bytes "zrc1", 8 bytes oid, 8 bytes the tid of the key, 8 bytes the revision's serial,
//	the data, 8 bytes xxhash64 of all before
//
// with big-endian numbers. The checkpoint is an entry of the oid and the data of nothing,
// whose two tids are the checkpoint.
const (
	magic    = "zrc1"
	header   = len(magic) + 8 + 8 + 8
	checksum = 8

	// maxEntry is what memcached takes unless it is told otherwise, with its own overhead.
	maxEntry = 1<<20 - 512
)

// noOID is the oid of the checkpoint.
const noOID = ^zodb.OID(0)

// entry is one fact: serial wrote the newest revision of oid as of at.
type entry struct {
	oid    zodb.OID
	at     zodb.TID
	serial zodb.TID
	data   []byte
}

func (e entry) encode() []byte {
	b := make([]byte, 0, header+len(e.data)+checksum)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.oid))
	b = binary.BigEndian.AppendUint64(b, uint64(e.at))
	b = binary.BigEndian.AppendUint64(b, uint64(e.serial))
	b = append(b, e.data...)
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

// tidOf returns the tid of the key, of an entry that is not checked yet but long enough.
func tidOf(b []byte) zodb.TID { return zodb.TID(binary.BigEndian.Uint64(b[len(magic)+8:])) }

// decode reads the entry that was asked for. Whatever else b is, it reports false.
func decode(b []byte, oid zodb.OID, at zodb.TID) (entry, bool) {
	if len(b) < header+checksum || string(b[:len(magic)]) != magic {
		return entry{}, false
	}
	body, sum := b[:len(b)-checksum], b[len(b)-checksum:]
	if binary.BigEndian.Uint64(sum) != xxhash.Sum64(body) {
		return entry{}, false
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(body[len(magic)+8*i:]) }
	e := entry{oid: zodb.OID(number(0)), at: zodb.TID(number(1)), serial: zodb.TID(number(2)), data: slices.Clip(body[header:])}
	return e, e.oid == oid && e.at == at && e.serial <= at && e.serial != 0
}

// key names an entry: PREFIX:UUID:OID:TID, all but the prefix in hexadecimal.
func (s *Storage) key(oid zodb.OID, at zodb.TID) string {
	b := make([]byte, 0, len(s.prefix)+2*17)
	b = append(b, s.prefix...)
	b = strconv.AppendUint(b, uint64(oid), 16)
	b = append(b, ':')
	return string(strconv.AppendUint(b, uint64(at), 16))
}

func (s *Storage) checkpointKey() string { return s.prefix + "checkpoint" }

// prefixOf begins all keys of a database. A key has no spaces, and is not long.
func prefixOf(prefix string, uuid [16]byte) string {
	if prefix = url.QueryEscape(prefix); len(prefix) > 100 {
		sum := sha256.Sum256([]byte(prefix))
		prefix = hex.EncodeToString(sum[:])
	}
	return prefix + ":" + hex.EncodeToString(uuid[:]) + ":"
}
