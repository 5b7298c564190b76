package layout

import (
	"encoding/hex"
	"slices"
	"strings"
)

// Share says which objects of one database, the owner, another one uses too: a branch
// of it. It is written once, to both of them.
//
//	0    8   "ZARI-SHR"
//	8    1   version, 1
//	9    16  id of the owner
//	25   16  id of the branch
//	41   8   when it was made, in seconds since 1970
//	49       URL of the owner, as the branch finds it: bytes
//	         URL of the branch, for people: bytes
//	         number of segments: uvarint; their ids, ascending
//	         number of blobs: uvarint; their ids, ascending
//	-4   4   CRC-32C of everything before it
type Share struct {
	Owner, Branch       ID
	Created             int64
	OwnerURL, BranchURL string
	Segments, Blobs     []ID // ascending
}

// sorted returns a share whose ids are in order.
func (s Share) sorted() Share {
	s.Segments, s.Blobs = sortedIDs(s.Segments), sortedIDs(s.Blobs)
	return s
}

func sortedIDs(ids []ID) []ID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids)
}

func compareIDs(a, b ID) int { return strings.Compare(string(a[:]), string(b[:])) }

// Encode returns the object.
func (s Share) Encode() []byte {
	s = s.sorted()
	b := begin("ZARI-SHR")
	b = append(b, s.Owner[:]...)
	b = append(b, s.Branch[:]...)
	b = putUint64(b, uint64(s.Created))
	b = putBytes(b, []byte(s.OwnerURL))
	b = putBytes(b, []byte(s.BranchURL))
	return seal(putIDs(putIDs(b, s.Segments), s.Blobs))
}

// DecodeShare reads the object.
func DecodeShare(b []byte) (*Share, error) {
	r := open("share", "ZARI-SHR", b)
	s := &Share{
		Owner: r.id(), Branch: r.id(), Created: int64(r.uint64()), OwnerURL: string(r.bytes()), BranchURL: string(r.bytes()),
		Segments: r.ids(), Blobs: r.ids(),
	}
	if r.err == nil && !(slices.IsSortedFunc(s.Segments, compareIDs) && slices.IsSortedFunc(s.Blobs, compareIDs)) {
		r.fail("its ids are not in order")
	}
	return s, r.end()
}

// Has reports whether the object of a key is shared.
func (s *Share) Has(key string) bool {
	ids, prefix := s.Segments, SegmentPrefix
	if strings.HasPrefix(key, BlobPrefix) {
		ids, prefix = s.Blobs, BlobPrefix
	}
	id, ok := IDIn(key)
	if !ok || !strings.HasPrefix(key, prefix) {
		return false
	}
	_, found := slices.BinarySearchFunc(ids, id, compareIDs)
	return found
}

// IDIn returns the id at the end of the key of a segment, run or blob.
func IDIn(key string) (id ID, ok bool) {
	const digits = 2 * len(id)
	if len(key) < digits {
		return id, false
	}
	n, err := hex.Decode(id[:], []byte(key[len(key)-digits:]))
	return id, err == nil && n == len(id)
}

// Pins names the branches of a database: what they share is not to be deleted.
//
//	0    8   "ZARI-PIN"
//	8    1   version, 1
//	9    16  id of the database
//	25   16  nonce: another one each time it is written
//	41   1   flags: 1 there will be no more branches, for the database is being dropped
//	42       number of branches: uvarint; their ids
//	-4   4   CRC-32C of everything before it
type Pins struct {
	Database ID
	Nonce    ID
	Closed   bool
	Branches []ID
}

const flagClosed = 1

// Encode returns the object.
func (p Pins) Encode() []byte {
	b := begin("ZARI-PIN")
	b = append(b, p.Database[:]...)
	b = append(b, p.Nonce[:]...)
	var flags byte
	if p.Closed {
		flags = flagClosed
	}
	return seal(putIDs(append(b, flags), p.Branches))
}

// DecodePins reads the object.
func DecodePins(b []byte) (Pins, error) {
	r := open("list of branches", "ZARI-PIN", b)
	p := Pins{Database: r.id(), Nonce: r.id()}
	flags := r.byte()
	if flags&^flagClosed != 0 {
		r.fail("flags that are not known")
	}
	p.Closed = flags&flagClosed != 0
	p.Branches = r.ids()
	return p, r.end()
}

func putIDs(b []byte, ids []ID) []byte {
	b = putUvarint(b, uint64(len(ids)))
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return b
}

func (r *reader) ids() []ID {
	ids := make([]ID, r.count(len(ID{})))
	for i := range ids {
		ids[i] = r.id()
	}
	return ids
}
