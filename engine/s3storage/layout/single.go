package layout

import (
	"fmt"
)

// Format names the database.
//
//	0    8   "ZARI-FMT"
//	8    1   version, 1
//	9    16  id of the database
//	25   8   when it was made, in seconds since 1970
//	33       of a branch: number of databases that it shares objects with: uvarint;
//	         their ids
//	-4   4   CRC-32C of everything before it
type Format struct {
	Database ID
	Created  int64
	Owners   []ID // of a branch
}

// Encode returns the object.
func (f Format) Encode() []byte {
	b := begin("ZARI-FMT")
	b = append(b, f.Database[:]...)
	b = putUint64(b, uint64(f.Created))
	if len(f.Owners) > 0 {
		b = putIDs(b, f.Owners)
	}
	return seal(b)
}

// DecodeFormat reads the object.
func DecodeFormat(b []byte) (Format, error) {
	r := open("format object", "ZARI-FMT", b)
	f := Format{Database: r.id(), Created: int64(r.uint64())}
	if r.err == nil && len(r.b) > 0 {
		f.Owners = r.ids()
	}
	return f, r.end()
}

// Pointer is a hint or a floor.
//
//	0    8   "ZARI-HNT" or "ZARI-FLR"
//	8    1   version, 1
//	9    16  id of the database
//	25   8   slot: of a hint the last one when it was written; of a floor the
//	         first one that is not going to be deleted
//	33       key of a checkpoint: bytes
//	-4   4   CRC-32C of everything before it
type Pointer struct {
	Database   ID
	Slot       uint64
	Checkpoint string
}

const (
	hintMagic  = "ZARI-HNT"
	floorMagic = "ZARI-FLR"
)

// EncodeHint returns the pointer as a hint.
func (p Pointer) EncodeHint() []byte { return p.encode(hintMagic) }

// EncodeFloor returns the pointer as a floor.
func (p Pointer) EncodeFloor() []byte { return p.encode(floorMagic) }

func (p Pointer) encode(magic string) []byte {
	b := begin(magic)
	b = append(b, p.Database[:]...)
	b = putUint64(b, p.Slot)
	return seal(putBytes(b, []byte(p.Checkpoint)))
}

// DecodeHint reads a hint.
func DecodeHint(b []byte) (Pointer, error) { return decodePointer("hint", hintMagic, b) }

// DecodeFloor reads a floor.
func DecodeFloor(b []byte) (Pointer, error) { return decodePointer("floor", floorMagic, b) }

func decodePointer(what, magic string, b []byte) (Pointer, error) {
	r := open(what, magic, b)
	p := Pointer{Database: r.id(), Slot: r.uint64(), Checkpoint: string(r.bytes())}
	if _, ok := CheckpointSlot(p.Checkpoint); !ok && r.err == nil {
		r.fail(fmt.Sprintf("%q is not the key of a checkpoint", p.Checkpoint))
	}
	return p, r.end()
}

// Lease tells who writes, so that others wait.
//
//	0    8   "ZARI-LSE"
//	8    1   version, 1
//	9    16  nonce: another one each time it is written
//	25   16  id of the server: another one each time it starts
//	41   8   how long it lasts, in milliseconds; 0: it is given up
//	49       who: bytes
//	-4   4   CRC-32C of everything before it
type Lease struct {
	Nonce  ID
	Owner  ID
	Millis uint64
	Writer string
}

// Encode returns the object.
func (l Lease) Encode() []byte {
	b := begin("ZARI-LSE")
	b = append(b, l.Nonce[:]...)
	b = append(b, l.Owner[:]...)
	b = putUint64(b, l.Millis)
	return seal(putBytes(b, []byte(l.Writer)))
}

// DecodeLease reads the object.
func DecodeLease(b []byte) (Lease, error) {
	r := open("lease", "ZARI-LSE", b)
	l := Lease{Nonce: r.id(), Owner: r.id(), Millis: r.uint64(), Writer: string(r.bytes())}
	return l, r.end()
}
