package pickle

import (
	"fmt"

	"github.com/zaridb/zari/zodb"
)

// Strength says what a reference does for its target.
type Strength byte

// The strengths of references.
const (
	Strong Strength = iota // keeps the target
	Weak                   // is told that the target may be gone
)

// Reference is what ZODB writes as the persistent id of an object.
type Reference struct {
	OID      zodb.OID
	Strength Strength
	Database string // name of another database; empty for the same
	Class    Class  // of the target, where it is told
}

// Target reads a reference. The forms are those of ZODB/serialize.py, "Persistent
// References":
//
//	oid                           within the database
//	(oid, class)                  the same, with the class
//	['w', (oid,)]                 weak
//	['w', (oid, database)]        weak, to another database
//	['n', (database, oid)]        to another database
//	['m', (database, oid, class)] the same, with the class
//	[oid]                         weak, as older versions wrote it
func (r *Ref) Target() (Reference, error) {
	switch id := r.ID.(type) {
	case Tuple:
		if len(id) > 0 {
			return makeReference(id[0], nil, id[len(id)-1], Strong)
		}
	case *List:
		return listReference(id.Items)
	default:
		return makeReference(id, nil, nil, Strong)
	}
	return Reference{}, r.bad()
}

func (r *Ref) bad() error { return fmt.Errorf("pickle: a persistent id of unknown form, a %T", r.ID) }

func listReference(items []any) (Reference, error) {
	bad := Reference{}
	err := (&Ref{&List{items}}).bad()
	if len(items) == 1 {
		return makeReference(items[0], nil, nil, Weak)
	}
	if len(items) != 2 {
		return bad, err
	}
	kind, _ := Text(items[0])
	args, _ := items[1].(Tuple)
	switch {
	case kind == "w" && len(args) == 1:
		return makeReference(args[0], nil, nil, Weak)
	case kind == "w" && len(args) == 2:
		return makeReference(args[0], args[1], nil, Weak)
	case kind == "n" && len(args) == 2:
		return makeReference(args[1], args[0], nil, Strong)
	case kind == "m" && len(args) == 3:
		return makeReference(args[1], args[0], args[2], Strong)
	}
	return bad, err
}

func makeReference(id, database, class any, s Strength) (Reference, error) {
	oid, err := oidOf(id)
	if err != nil {
		return Reference{}, err
	}
	ref := Reference{OID: oid, Strength: s}
	if database != nil {
		name, ok := Text(database)
		if !ok || name == "" {
			return Reference{}, fmt.Errorf("pickle: a reference to a database named by a %T", database)
		}
		ref.Database = name
	}
	ref.Class, _ = classIn(class)
	return ref, nil
}

// oidOf reads an oid, which may be text if all its bytes are below 128.
func oidOf(v any) (zodb.OID, error) {
	b, ok := Bytes(v)
	if s, isText := v.(string); isText {
		b, ok = []byte(s), true
	}
	if !ok {
		return 0, fmt.Errorf("pickle: an oid that is a %T", v)
	}
	return zodb.ParseOID(b)
}

// AllReferences appends to dst the references of every form in a record, in the
// order in which they are written.
//
// Records whose references are all within their database cost little more than with
// [References].
func AllReferences(record []byte, dst []Reference) ([]Reference, error) {
	s := scanners.Get().(*scanner)
	s.all, s.refs = true, dst
	_, ok := s.record(record, nil)
	out := s.refs
	s.in, s.refs, s.all = nil, nil, false
	scanners.Put(s)
	if ok {
		return out, nil
	}
	return allInFull(record, dst)
}

// allInFull is AllReferences by way of the tree.
func allInFull(record []byte, dst []Reference) ([]Reference, error) {
	refs, err := readRefs(record)
	if err != nil {
		return dst, err
	}
	for _, r := range refs {
		t, err := r.Target()
		if err != nil {
			return dst, err
		}
		dst = append(dst, t)
	}
	return dst, nil
}

// readRefs reads a record in full and returns its references.
func readRefs(record []byte) ([]*Ref, error) {
	d := NewDecoder(record)
	d.collect = true
	if _, _, err := d.record(); err != nil {
		return nil, err
	}
	return d.refs, nil
}
