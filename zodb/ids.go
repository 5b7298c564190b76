package zodb

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// OID names an object of a database. Object 0 is the root.
type OID uint64

// TID names a transaction: its commit time as a ZODB TimeStamp. 0 means none.
//
// The upper 32 bits count minutes on a calendar where every month has 31 days
// and which begins in 1900; the lower 32 bits are the fraction of that minute.
// (persistent/_timestamp.c in the Python package "persistent".)
type TID uint64

// MaxTID is the largest tid: LoadBefore(oid, MaxTID) reads the current revision.
const MaxTID TID = 1<<63 - 1

// Bytes returns the eight big-endian bytes that ZODB writes for the oid.
func (o OID) Bytes() [8]byte { return bigEndian(uint64(o)) }

// String returns the oid in hexadecimal, as ZODB's messages print it.
func (o OID) String() string { return fmt.Sprintf("0x%02x", uint64(o)) }

// Bytes returns the eight big-endian bytes that ZODB writes for the tid.
func (t TID) Bytes() [8]byte { return bigEndian(uint64(t)) }

// String returns the tid as 16 hexadecimal digits.
func (t TID) String() string { return fmt.Sprintf("%016x", uint64(t)) }

func bigEndian(v uint64) (b [8]byte) {
	binary.BigEndian.PutUint64(b[:], v)
	return b
}

var errEightBytes = errors.New("zodb: an oid or tid has exactly eight bytes")

// ParseOID reads an oid from its eight bytes.
func ParseOID(b []byte) (OID, error) {
	if len(b) != 8 {
		return 0, errEightBytes
	}
	return OID(binary.BigEndian.Uint64(b)), nil
}

// ParseTID reads a tid from its eight bytes.
func ParseTID(b []byte) (TID, error) {
	if len(b) != 8 {
		return 0, errEightBytes
	}
	return TID(binary.BigEndian.Uint64(b)), nil
}

// UndoID returns the name that undo logs give to the transaction: its eight
// bytes in base64.
func (t TID) UndoID() []byte {
	b := t.Bytes()
	return []byte(base64.StdEncoding.EncodeToString(b[:]))
}

// ParseUndoID reads a name made by [TID.UndoID].
func ParseUndoID(id []byte) (TID, error) {
	b, err := base64.StdEncoding.DecodeString(string(id))
	if err != nil {
		return 0, fmt.Errorf("zodb: bad transaction id %q: %w", id, err)
	}
	return ParseTID(b)
}

const fractionsPerSecond = float64(1<<32) / 60

// TIDAt returns the tid of an instant; times before 1900 give 1.
func TIDAt(t time.Time) TID {
	t = t.UTC()
	if t.Year() < 1900 {
		return 1
	}
	minutes := uint64((((t.Year()-1900)*12+int(t.Month())-1)*31+t.Day()-1)*24+t.Hour())*60 + uint64(t.Minute())
	seconds := float64(t.Second()) + float64(t.Nanosecond())/1e9
	return TID(minutes<<32 | uint64(seconds*fractionsPerSecond))
}

// Time returns the instant that the tid stands for, to the nanosecond.
func (t TID) Time() time.Time {
	m := uint64(t) >> 32
	minute, m := m%60, m/60
	hour, m := m%24, m/24
	day, m := m%31, m/31
	month, year := m%12, m/12
	ns := float64(uint32(t)) / fractionsPerSecond * 1e9
	return time.Date(int(year)+1900, time.Month(month+1), int(day)+1, int(hour), int(minute), 0, int(ns), time.UTC)
}

// NextTID returns the tid for a commit at the instant now that must come after
// last: the tid of now, or last+1 where the clock stands or has gone back.
func NextTID(now time.Time, last TID) TID {
	return max(TIDAt(now), last+1)
}
