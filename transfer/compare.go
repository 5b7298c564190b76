package transfer

import (
	"bytes"
	"fmt"

	"github.com/zaridb/zari/zodb"
)

// Kind names what differs. The words are stable: they are part of JSON output.
type Kind string

// The kinds of differences between two histories.
const (
	OnlyInSource      Kind = "only in source"      // the transaction, or with an object its record
	OnlyInDestination Kind = "only in destination" // likewise
	OtherStatus       Kind = "status"
	OtherUser         Kind = "user"
	OtherDescription  Kind = "description"
	OtherExtension    Kind = "extension"
	OtherData         Kind = "data"
	OtherUndo         Kind = "undo" // the revision that an undo went back to
	OtherBlob         Kind = "blob"
)

// Difference is something in which two histories differ.
type Difference struct {
	TID    zodb.TID
	OID    zodb.OID // if Object
	Object bool     // it is about one record, and not about the transaction
	Kind   Kind
	Detail string // for people
}

func (d Difference) String() string {
	s := fmt.Sprintf("transaction %v", d.TID)
	if d.Object {
		s += fmt.Sprintf(" object %v", d.OID)
	}
	s += ": "
	switch d.Kind {
	case OnlyInSource, OnlyInDestination:
		return s + string(d.Kind)
	}
	return s + string(d.Kind) + " differs: " + d.Detail
}

// compareHeads reports differences of what transactions say of themselves.
func compareHeads(src, dst *zodb.Transaction, report func(Difference)) {
	if src.Status != dst.Status {
		report(Difference{TID: src.TID, Kind: OtherStatus, Detail: fmt.Sprintf("%q and %q", src.Status, dst.Status)})
	}
	for _, text := range []struct {
		kind     Kind
		src, dst []byte
	}{{OtherUser, src.User, dst.User}, {OtherDescription, src.Description, dst.Description}, {OtherExtension, src.Extension, dst.Extension}} {
		if !bytes.Equal(text.src, text.dst) {
			report(Difference{TID: src.TID, Kind: text.kind, Detail: fmt.Sprintf("%s and %s", quoted(text.src), quoted(text.dst))})
		}
	}
}

// quoted shows the beginning of a text.
func quoted(b []byte) string {
	const most = 60
	if len(b) > most {
		return fmt.Sprintf("%q...", b[:most])
	}
	return fmt.Sprintf("%q", b)
}

// compareRecords reports differences of the records of two transactions, and
// calls blob for each pair that both have a blob. The order of the records does
// not matter, and of several for one object the last one counts.
func compareRecords(src, dst *zodb.Transaction, report func(Difference), blob func(zodb.OID)) {
	if sameOrder(src, dst) {
		for i := range src.Records {
			compareRecord(src.TID, &src.Records[i], &dst.Records[i], report, blob)
		}
		return
	}
	theirs, ours := byOID(src), byOID(dst)
	for i := range src.Records {
		r := &src.Records[i]
		switch have := ours[r.OID]; {
		case theirs[r.OID] != r: // not the last one
		case have == nil:
			report(Difference{TID: src.TID, OID: r.OID, Object: true, Kind: OnlyInSource})
		default:
			compareRecord(src.TID, r, have, report, blob)
		}
	}
	for i := range dst.Records {
		r := &dst.Records[i]
		if ours[r.OID] == r && theirs[r.OID] == nil {
			report(Difference{TID: src.TID, OID: r.OID, Object: true, Kind: OnlyInDestination})
		}
	}
}

// sameOrder reports whether the records are of the same objects in the same
// order, each once.
func sameOrder(src, dst *zodb.Transaction) bool {
	if len(src.Records) != len(dst.Records) {
		return false
	}
	last := zodb.OID(0)
	ascending := true
	for i := range src.Records {
		oid := src.Records[i].OID
		if oid != dst.Records[i].OID {
			return false
		}
		ascending = ascending && (i == 0 || oid > last)
		last = oid
	}
	return ascending || len(byOID(src)) == len(src.Records)
}

func compareRecord(tid zodb.TID, src, dst *zodb.TxnRecord, report func(Difference), blob func(zodb.OID)) {
	d := Difference{TID: tid, OID: src.OID, Object: true}
	if !sameData(src.Data, dst.Data) {
		d.Kind, d.Detail = OtherData, fmt.Sprintf("%s and %s", sized(src.Data), sized(dst.Data))
		report(d)
	}
	if src.From != dst.From {
		d.Kind, d.Detail = OtherUndo, fmt.Sprintf("went back to %v and to %v", src.From, dst.From)
		report(d)
	}
	switch {
	case src.Blob && dst.Blob:
		blob(src.OID)
	case src.Blob != dst.Blob:
		d.Kind, d.Detail = OtherBlob, "only the source has a file"
		if dst.Blob {
			d.Detail = "only the destination has a file"
		}
		report(d)
	}
}

// sameData compares data, where nil is a deletion.
func sameData(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func sized(data []byte) string {
	if data == nil {
		return "a deletion"
	}
	return fmt.Sprintf("%d bytes", len(data))
}
