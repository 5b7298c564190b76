package disklog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/zaridb/zari/engine/s3storage/layout"
)

// A file:
//
//	0   8   "ZARI-DSK"
//	8   1   version, 1
//	9   16  id of the log
//	25  8   the slot that it begins behind
//	33  4   CRC-32C of everything before it
//	37      frames
//
// A frame:
//
//	0   4   "ZSLT"
//	4   4   length of the object
//	8   8   slot
//	16  8   epoch
//	24  4   CRC-32C of the log's id, of the 24 bytes before it, and of the object
//	28      the object
const (
	fileMagic  = "ZARI-DSK"
	version    = 1
	headLen    = 8 + 1 + 16 + 8 + 4
	frameMagic = "ZSLT"
	frameHead  = 28
	maxFrame   = 1<<32 - 1<<20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendHead(b []byte, id layout.ID, behind uint64) []byte {
	b = append(append(b, fileMagic...), version)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint64(b, behind)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// readHead reads the head of a file of a log. Not ok: the file was never finished, or is damaged.
func readHead(b []byte, id layout.ID) (behind uint64, ok bool) {
	if len(b) < headLen {
		return 0, false
	}
	behind = binary.BigEndian.Uint64(b[25:])
	return behind, bytes.Equal(b[:headLen], appendHead(nil, id, behind))
}

type frame struct {
	slot, epoch uint64
	object      []byte
}

func (f *frame) sum(id layout.ID, head []byte) uint32 {
	sum := crc32.Update(crc32.Checksum(id[:], castagnoli), castagnoli, head[:frameHead-4])
	return crc32.Update(sum, castagnoli, f.object)
}

func appendFrame(b []byte, id layout.ID, f *frame) []byte {
	start := len(b)
	b = append(b, frameMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.object)))
	b = binary.BigEndian.AppendUint64(b, f.slot)
	b = binary.BigEndian.AppendUint64(b, f.epoch)
	b = binary.BigEndian.AppendUint32(b, f.sum(id, b[start:]))
	return append(b, f.object...)
}

var errFrame = errors.New("this is no slot of the log")

// readFrame reads the frame that b begins with. The object aliases b.
func readFrame(b []byte, id layout.ID) (f frame, n int, err error) {
	if len(b) < frameHead || string(b[:4]) != frameMagic {
		return f, 0, errFrame
	}
	size := int64(binary.BigEndian.Uint32(b[4:]))
	if size > int64(len(b)-frameHead) {
		return f, 0, errFrame
	}
	n = frameHead + int(size)
	f = frame{slot: binary.BigEndian.Uint64(b[8:]), epoch: binary.BigEndian.Uint64(b[16:]), object: b[frameHead:n:n]}
	if f.sum(id, b) != binary.BigEndian.Uint32(b[24:]) {
		return f, 0, errFrame
	}
	return f, n, nil
}

// hasFrame reports whether b has a frame of the log anywhere, of a slot after one.
func hasFrame(b []byte, id layout.ID, after uint64) bool {
	for {
		i := bytes.Index(b, []byte(frameMagic))
		if i < 0 {
			return false
		}
		if f, _, err := readFrame(b[i:], id); err == nil && f.slot > after {
			return true
		}
		b = b[i+1:]
	}
}
