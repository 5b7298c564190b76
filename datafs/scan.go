package datafs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/zaridb/zari/zodb"
)

// Scanner walks over the transactions and records of a part of a file, reading
// headers and checking all that holds them together. Data are skipped. Errors
// about what is in the file are *zodb.CorruptError.
//
//	for s.Txn() {
//		for s.Record() {
//		}
//	}
//	if s.Err() != nil ...
type Scanner struct {
	// TxnPos and Head are the transaction that Txn has come to.
	TxnPos int64
	Head   TxnHeader
	// Pos and Rec are the record that Record has come to.
	Pos int64
	Rec DataHeader

	// Window may be used to read more of the current transaction.
	Window *Window

	name    string
	end     int64
	next    int64 // transaction
	nextRec int64 // record
	whole   bool  // the records were all seen, and add up
	last    zodb.TID
	err     error
}

// NewScanner walks from the transaction at pos to end. name is the file's, for
// errors; last is the tid before, 0 if it does not matter.
func NewScanner(w *Window, name string, pos, end int64, last zodb.TID) *Scanner {
	return &Scanner{Window: w, name: name, next: pos, end: end, last: last, whole: true}
}

// Next returns the position of the transaction that Txn will come to, or that it
// failed at.
func (s *Scanner) Next() int64 { return s.next }

// Err returns what ended the walk, nil for the end.
func (s *Scanner) Err() error { return s.err }

// Corrupt returns the error for a record at pos.
func Corrupt(name, record string, pos int64, err error) error {
	return &zodb.CorruptError{File: name, Record: record, Offset: pos, Err: err}
}

// Txn goes on to the next transaction. Records of the last one that were not
// asked for are skipped unchecked.
func (s *Scanner) Txn() bool {
	if s.err != nil || (!s.whole && !s.trailer()) || s.next >= s.end {
		return false
	}
	pos := s.next
	if s.end-pos < TxnHeaderSize {
		return s.fail("transaction header", pos, errCutOff)
	}
	b, err := s.Window.At(pos, TxnHeaderSize)
	if err != nil {
		return s.failRead("transaction header", pos, err)
	}
	h := DecodeTxnHeader(b)
	if err := h.Check(pos, s.end); err != nil {
		return s.fail("transaction header", pos, err)
	}
	if h.TID <= s.last {
		return s.fail("transaction header", pos, fmt.Errorf("tid %v comes after tid %v", h.TID, s.last))
	}
	s.TxnPos, s.Head, s.last = pos, h, h.TID
	s.nextRec = pos + h.HeaderLen()
	s.whole = false
	return true
}

// Record goes on to the next record of the transaction. At the last one it
// returns false, having checked that the lengths add up.
func (s *Scanner) Record() bool {
	if s.err != nil || s.whole {
		return false
	}
	pos, txnEnd := s.nextRec, s.TxnPos+s.Head.Len
	if pos == txnEnd || s.Head.Status == Undone {
		s.trailer()
		return false
	}
	if txnEnd-pos <= DataHeaderSize {
		return s.fail("data record", pos, errTooLong)
	}
	n := int(min(DataHeaderSize+BackSize, txnEnd-pos))
	b, err := s.Window.At(pos, n)
	if err != nil {
		return s.failRead("data record", pos, err)
	}
	s.Rec = DecodeDataHeader(b)
	if err := s.Rec.CheckIn(pos, &s.Head, s.TxnPos); err != nil {
		return s.fail("data record", pos, err)
	}
	s.Pos = pos
	s.nextRec = pos + s.Rec.Len()
	return true
}

// trailer checks the end of the transaction, and moves on behind it.
func (s *Scanner) trailer() bool {
	pos := s.TxnPos + s.Head.Len
	b, err := s.Window.At(pos, TrailerSize)
	if err != nil {
		return s.failRead("transaction trailer", pos, err)
	}
	if binary.BigEndian.Uint64(b) != uint64(s.Head.Len) {
		return s.fail("transaction trailer", pos, errTrailer)
	}
	s.next = pos + TrailerSize
	s.whole = true
	return true
}

// fail ends the walk at something that must not be.
func (s *Scanner) fail(record string, pos int64, err error) bool {
	s.err = Corrupt(s.name, record, pos, err)
	return false
}

// failRead ends the walk when reading failed.
func (s *Scanner) failRead(record string, pos int64, err error) bool {
	s.err = ReadError(s.name, record, pos, err)
	return false
}

// ReadError is the error for a record at pos that could not be read. That the
// file is too short is corruption; what the file system says is not.
func ReadError(name, record string, pos int64, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return Corrupt(name, record, pos, errCutOff)
	}
	return fmt.Errorf("reading %s at offset %d: %w", record, pos, err)
}
