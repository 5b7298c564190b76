package bench

import (
	"encoding/binary"
	"math/rand/v2"
)

// What a written object is: a persistent mapping with one key, whose value is a
// string of random bytes, which no compression makes smaller. It is a valid
// record, so that servers which look into records find nothing odd and Python
// can load it.
const (
	recordHead = "\x80\x03cpersistent.mapping\nPersistentMapping\nq\x00." +
		"\x80\x03}q\x01X\x04\x00\x00\x00dataq\x02}q\x03X\x03\x00\x00\x00padq\x04B"
	recordTail = "q\x05ss."
)

// MinSize is the smallest size of a record, in bytes.
const MinSize = len(recordHead) + 4 + len(recordTail)

// Record returns the data of an object, size bytes long and at least [MinSize].
// The same seed gives the same bytes.
func Record(size int, seed uint64) []byte {
	pad := max(size-MinSize, 0)
	b := make([]byte, 0, MinSize+pad+8)
	b = append(b, recordHead...)
	b = binary.LittleEndian.AppendUint32(b, uint32(pad))
	end := len(b) + pad
	for r := rand.New(rand.NewPCG(seed, 0)); len(b) < end; {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return append(b[:end], recordTail...)
}
