package datafs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zaridb/zari/zodb"
)

// Sizes in bytes.
const (
	MagicSize      = 4
	TxnHeaderSize  = 23 // without user, description and extension
	DataHeaderSize = 42 // without data or back pointer
	BackSize       = 8  // of a back pointer
	TrailerSize    = 8  // the length at the end of a transaction
	StatusOffset   = 16 // of the status byte in a transaction

	MaxText = 1<<16 - 1 // user, description, extension
	MaxPos  = 1<<48 - 1 // what an index can hold
)

// Magic is what new files begin with.
const Magic = "FS30"

// OldMagic is what Python 2 wrote.
const OldMagic = "FS21"

// The status of a transaction.
const (
	Done    = ' '
	Packed  = 'p'
	Pending = 'c'
	Undone  = 'u'
)

// KnownMagic reports whether a file that begins with b has this format.
func KnownMagic(b []byte) bool {
	return len(b) >= MagicSize && (string(b[:MagicSize]) == Magic || string(b[:MagicSize]) == OldMagic)
}

// TxnHeader is the head of a transaction.
type TxnHeader struct {
	TID                          zodb.TID
	Len                          int64 // bytes of the transaction without the trailer
	Status                       byte
	User, Description, Extension int // lengths
}

// DecodeTxnHeader reads the first TxnHeaderSize bytes of a transaction.
func DecodeTxnHeader(b []byte) TxnHeader {
	_ = b[TxnHeaderSize-1]
	return TxnHeader{
		TID:         zodb.TID(binary.BigEndian.Uint64(b)),
		Len:         int64(binary.BigEndian.Uint64(b[8:])),
		Status:      b[StatusOffset],
		User:        int(binary.BigEndian.Uint16(b[17:])),
		Description: int(binary.BigEndian.Uint16(b[19:])),
		Extension:   int(binary.BigEndian.Uint16(b[21:])),
	}
}

// Append appends the header's TxnHeaderSize bytes to dst.
func (h TxnHeader) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.TID))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Len))
	dst = append(dst, h.Status)
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.User))
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.Description))
	return binary.BigEndian.AppendUint16(dst, uint16(h.Extension))
}

// HeaderLen returns the bytes before the first data record.
func (h TxnHeader) HeaderLen() int64 {
	return TxnHeaderSize + int64(h.User) + int64(h.Description) + int64(h.Extension)
}

// Size returns the bytes of the whole transaction.
func (h TxnHeader) Size() int64 { return h.Len + TrailerSize }

// Reasons for a zodb.CorruptError.
var (
	errCutOff     = errors.New("the file ends in the middle of it")
	errTxnLen     = errors.New("its length is less than that of its header")
	errVersion    = errors.New("it belongs to a version, which ZODB no longer has")
	errOtherTID   = errors.New("its tid is not that of its transaction")
	errOtherTxn   = errors.New("it names another position as its transaction's")
	errTooLong    = errors.New("it is longer than its transaction")
	errPrev       = errors.New("its previous record is not before it")
	errBack       = errors.New("its back pointer is not to an earlier record")
	errTrailer    = errors.New("the length at its end is not the one in its header")
	errUnfinished = errors.New("it is not finished")
)

// Check checks the header of a transaction at pos against the end of the file.
func (h TxnHeader) Check(pos, end int64) error {
	switch {
	case h.Len < h.HeaderLen():
		return errTxnLen
	case h.Len > end-pos-TrailerSize:
		return errCutOff
	case h.Status == Pending:
		return errUnfinished
	case h.Status != Done && h.Status != Packed && h.Status != Undone:
		return fmt.Errorf("its status is %q", h.Status)
	}
	return nil
}

// DataHeader is the head of a data record.
type DataHeader struct {
	OID     zodb.OID
	TID     zodb.TID
	Prev    int64 // position of the object's previous record, 0 if there is none
	Txn     int64 // position of the transaction
	DataLen int64 // 0: there is a back pointer
	Back    int64 // back pointer, not part of the DataHeaderSize bytes
	version uint16
}

// DecodeDataHeader reads the first DataHeaderSize bytes of a data record. Back
// is read if b goes on, and if there is one.
func DecodeDataHeader(b []byte) DataHeader {
	_ = b[DataHeaderSize-1]
	h := DataHeader{
		OID:     zodb.OID(binary.BigEndian.Uint64(b)),
		TID:     zodb.TID(binary.BigEndian.Uint64(b[8:])),
		Prev:    int64(binary.BigEndian.Uint64(b[16:])),
		Txn:     int64(binary.BigEndian.Uint64(b[24:])),
		DataLen: int64(binary.BigEndian.Uint64(b[34:])),
		version: binary.BigEndian.Uint16(b[32:]),
	}
	if h.DataLen == 0 && len(b) >= DataHeaderSize+BackSize {
		h.Back = int64(binary.BigEndian.Uint64(b[DataHeaderSize:]))
	}
	return h
}

// Append appends the header to dst, and the back pointer if there are no data.
func (h DataHeader) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.OID))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.TID))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Prev))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Txn))
	dst = append(dst, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.DataLen))
	if h.DataLen == 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.Back))
	}
	return dst
}

// Len returns the bytes of the record: header, and data or back pointer.
func (h DataHeader) Len() int64 {
	if h.DataLen == 0 {
		return DataHeaderSize + BackSize
	}
	return DataHeaderSize + h.DataLen
}

// Check checks what can be told from the record alone, at pos in a file that
// ends at end.
func (h *DataHeader) Check(pos, end int64) error {
	switch {
	case h.version != 0:
		return errVersion
	case h.DataLen < 0 || h.DataLen > MaxPos || h.Len() > end-pos:
		return errCutOff
	case h.Txn < MagicSize || h.Txn > pos-TxnHeaderSize:
		return errOtherTxn
	case h.Prev < 0 || h.Prev >= pos || (h.Prev > 0 && h.Prev < MagicSize+TxnHeaderSize):
		return errPrev
	case h.Back < 0 || h.Back >= pos || (h.Back > 0 && h.Back < MagicSize+TxnHeaderSize):
		return errBack
	}
	return nil
}

// CheckIn checks the record at pos as part of the transaction t at txnPos.
func (h *DataHeader) CheckIn(pos int64, t *TxnHeader, txnPos int64) error {
	if err := h.Check(pos, txnPos+t.Len); err != nil {
		if err == errCutOff {
			return errTooLong
		}
		return err
	}
	if h.Txn != txnPos {
		return errOtherTxn
	}
	if h.TID != t.TID {
		return errOtherTID
	}
	return nil
}
