package model

import (
	"fmt"
	"strings"

	"github.com/zaridb/zari/zodb"
)

// Check is a revision that a transaction demands to be current.
type Check struct {
	OID    zodb.OID
	Serial zodb.TID
}

// Label is the description of an actor's transaction: its name, and what the
// truth alone would not show.
type Label struct {
	ID     StateID
	Undo   zodb.TID // the transaction that it undoes, or 0
	Checks []Check
}

// String returns the description to send, in plain text.
func (l Label) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "model %x %x", uint64(l.ID), uint64(l.Undo))
	for _, c := range l.Checks {
		fmt.Fprintf(&b, " %x=%x", uint64(c.OID), uint64(c.Serial))
	}
	return b.String()
}

// maxChecks is far above what actors send; it bounds what is read back.
const maxChecks = 64

// ParseLabel reads a description made by String.
func ParseLabel(description string) (Label, error) {
	bad := fmt.Errorf("description %.60q is not of the model", description)
	words := strings.Fields(description)
	if len(words) < 3 || words[0] != "model" || len(words) > 3+maxChecks {
		return Label{}, bad
	}
	var l Label
	if _, err := fmt.Sscanf(words[1]+" "+words[2], "%x %x", (*uint64)(&l.ID), (*uint64)(&l.Undo)); err != nil {
		return Label{}, bad
	}
	for _, w := range words[3:] {
		var c Check
		if _, err := fmt.Sscanf(w, "%x=%x", (*uint64)(&c.OID), (*uint64)(&c.Serial)); err != nil {
			return Label{}, bad
		}
		l.Checks = append(l.Checks, c)
	}
	if l.String() != description {
		return Label{}, bad
	}
	return l, nil
}
