// Package txnlog has the one form in which a transaction passes from the commit
// pipeline to an engine, and its canonical encoding.
//
// A transaction is written, hashed, spooled, shipped and kept in this form. It
// names revisions by tid and never by a position in some file, so that it means
// the same in every medium.
package txnlog

import "github.com/zaridb/zari/zodb"

// Txn is a transaction to be appended, or read back from an engine.
type Txn struct {
	TID         zodb.TID
	Status      byte // ' ', or 'p' for one that was packed
	User        []byte
	Description []byte
	Extension   []byte // the pickle of a dict; empty for none
	Token       zodb.Token
	Records     []Record
	Size        int64 // bytes in the medium, where it was read from one; not encoded
}

// Kind says what a record does.
type Kind byte

const (
	Data   Kind = iota // a new revision
	Delete             // no data from here on: a deletion, or the undo of a creation
)

// Record is one object's part of a transaction.
type Record struct {
	OID  zodb.OID
	Prev zodb.TID // the revision before this one, 0 if there is none
	Kind Kind
	Data []byte // of a Data record; nil while it lies in Spooled

	// From, if not 0, says that the data are those of this earlier revision,
	// which an undo brought back (or, in a Delete record, that an undo went back
	// to before the object was made and From is unused).
	From zodb.TID

	// Blob is the path of the staged blob file, "" for none. In a transaction
	// that was read from an engine it is any non-empty string. Only the fact that
	// there is a blob is encoded.
	Blob string

	// Spooled holds the data of a large transaction until they are written.
	Spooled Spooled
}

// Spooled is data that lie in a file.
type Spooled interface {
	Len() int
	Read() ([]byte, error)
}

// Load returns the record's data, from the spool if need be.
func (r *Record) Load() ([]byte, error) {
	if r.Data == nil && r.Spooled != nil {
		return r.Spooled.Read()
	}
	return r.Data, nil
}

// Len returns the length of the record's data without reading them.
func (r *Record) Len() int {
	if r.Data == nil && r.Spooled != nil {
		return r.Spooled.Len()
	}
	return len(r.Data)
}
