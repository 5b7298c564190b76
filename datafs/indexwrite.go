package datafs

import (
	"bufio"
	"encoding/binary"
	"io"
	"math"
)

// IndexWriter writes an index file, as Python 3 does to the byte.
type IndexWriter struct {
	w   *bufio.Writer
	buf []byte
}

// NewIndexWriter begins an index that covers a data file up to pos.
func NewIndexWriter(w io.Writer, pos int64) *IndexWriter {
	iw := &IndexWriter{w: bufio.NewWriterSize(w, 1<<18)}
	iw.buf = append(appendInt(append(iw.buf, pickleHeader...), pos), opStop)
	iw.w.Write(iw.buf) // the error stays in w
	return iw
}

// Bucket writes a bucket. They must come in the order of their prefixes, without
// empty ones.
func (w *IndexWriter) Bucket(b *Bucket) error {
	w.buf = append(w.buf[:0], pickleHeader...)
	w.buf = append(w.buf, opBytes1, prefixSize)
	w.buf = binary.BigEndian.AppendUint16(w.buf, uint16(b.Prefix>>32))
	w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(b.Prefix))
	if n := b.Len() * entrySize; n < 256 {
		w.buf = append(w.buf, opBytes1, byte(n))
	} else {
		w.buf = binary.LittleEndian.AppendUint32(append(w.buf, opBytes4), uint32(n))
	}
	w.w.Write(w.buf)
	w.w.Write(b.Suffixes)
	w.w.Write(b.Positions)
	_, err := w.w.Write([]byte{opTuple2, opStop})
	return err
}

// Close ends the index. It does not close the underlying writer.
func (w *IndexWriter) Close() error {
	w.w.WriteString(pickleHeader + "N.")
	return w.w.Flush()
}

// appendInt appends the pickle of n >= 0.
func appendInt(dst []byte, n int64) []byte {
	switch {
	case n < 1<<8:
		return append(dst, opInt1, byte(n))
	case n < 1<<16:
		return binary.LittleEndian.AppendUint16(append(dst, opInt2), uint16(n))
	case n <= math.MaxInt32:
		return binary.LittleEndian.AppendUint32(append(dst, opInt4), uint32(n))
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(n))
	size := 8
	for size > 1 && b[size-1] == 0 && b[size-2] < 0x80 {
		size--
	}
	return append(append(dst, opLong1, byte(size)), b[:size]...)
}
