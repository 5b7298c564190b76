package model

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zaridb/zari/zodb"
)

// StateID names a state for the length of a run: its writer's number in the
// upper 24 bits, a number that the writer uses once in the lower 40.
type StateID uint64

// NewStateID puts a name together.
func NewStateID(writer uint32, n uint64) StateID {
	return StateID(uint64(writer)<<40 | n&(1<<40-1))
}

// Writer returns the number of the writer.
func (id StateID) Writer() uint32 { return uint32(id >> 40) }

// String prints the writer and its number for the state.
func (id StateID) String() string { return fmt.Sprintf("w%d#%d", id.Writer(), uint64(id)&(1<<40-1)) }

// State is what an actor writes to an object. All bytes of the record follow
// from the three fields, so two records with equal fields are equal.
type State struct {
	OID  zodb.OID // the object it was written to
	Base zodb.TID // the revision it was made from, 0 for a new object
	ID   StateID
}

// The record around a state is one that ZODB can read: the class, then a dict
// with one bytes value. Python's server unpickles it when writes conflict.
const (
	recordHead = "\x80\x03cpersistent.mapping\nPersistentMapping\n." + "\x80\x03}X\x04\x00\x00\x00dataB"
	recordTail = "s."
	fixedSize  = 24
)

var errState = errors.New("not a state written by the model")

// Append appends the record of the state.
func (s State) Append(dst []byte) []byte {
	pad := s.ID.padding()
	dst = append(dst, recordHead...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(fixedSize+pad))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.OID))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Base))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.ID))
	x := uint64(s.ID)
	for range pad / 8 {
		x = mix(x)
		dst = binary.BigEndian.AppendUint64(dst, x)
	}
	return append(dst, recordTail...)
}

// DecodeState reads a record written by Append. Any other byte is an error.
func DecodeState(record []byte) (State, error) {
	if len(record) < len(recordHead)+4+fixedSize {
		return State{}, errState
	}
	b := record[len(recordHead)+4:]
	s := State{
		OID:  zodb.OID(binary.BigEndian.Uint64(b)),
		Base: zodb.TID(binary.BigEndian.Uint64(b[8:])),
		ID:   StateID(binary.BigEndian.Uint64(b[16:])),
	}
	if size := len(recordHead) + 4 + fixedSize + s.ID.padding() + len(recordTail); len(record) != size {
		return State{}, fmt.Errorf("%w: %d bytes, want %d for %v", errState, len(record), size, s.ID)
	}
	if !bytes.Equal(record, s.Append(make([]byte, 0, len(record)))) {
		return State{}, fmt.Errorf("%w: altered bytes in a record of %v", errState, s.ID)
	}
	return s, nil
}

// padding is the number of bytes, a multiple of 8, that fill the record up:
// mostly a few hundred, in one of 64 more than a socket takes at once.
func (id StateID) padding() int {
	h := mix(uint64(id))
	if h%64 == 0 {
		return 8 * int(2000+h>>8%6000)
	}
	return 8 * int(h>>8%64)
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
