package resolve

import "errors"

// Reason says why a conflict was not merged.
type Reason byte

// The reasons. Those of buckets follow the numbers in BTrees/Interfaces.py,
// BTreesConflictError.
const (
	NoReason       Reason = iota // it was merged
	UnknownClass                 // the class has no merge here
	LeftToClients                // the server is told not to merge
	BadRecord                    // a record cannot be read, or not as a state of its class
	OtherClass                   // the class has changed between the revisions
	Uncertain                    // Python may compare the keys or values by code of the application
	Incomparable                 // Python cannot compare the keys or values: it raises an error
	TooLarge                     // the records or the work exceed the limits
	SplitBucket                  // the next bucket differs: one side has split this one (0)
	ManyBuckets                  // a tree with more than one bucket (11)
	EmptyBucket                  // one side has emptied the bucket, or both together (10, 12)
	FirstDeleted                 // one side has deleted the first key (13)
	BothChanged                  // both have changed the value of a key (1)
	ChangedDeleted               // one has changed what the other has deleted (2, 3, 7, 8)
	BothInserted                 // both have inserted a key (4, 6)
	BothDeleted                  // both have deleted a key (4, 5, 7, 8, 9)
	Rule                         // a rule of a class that is not of BTrees, or of checks
	DeepSplit                    // the transaction makes a node of a tree above other nodes
	reasons
)

var reasonNames = [reasons]string{
	"merged", "unknown class", "left to clients", "bad record", "class changed", "uncertain", "incomparable", "too large",
	"split bucket", "many buckets", "empty bucket", "first key deleted", "value changed twice", "changed and deleted",
	"inserted twice", "deleted twice", "rule of the class", "deep split",
}

func (r Reason) String() string {
	if r < reasons {
		return reasonNames[r]
	}
	return "unknown"
}

// refusal is the error of a merge that must not be made.
type refusal struct{ reason Reason }

func (r *refusal) Error() string { return r.reason.String() }

func refuse(r Reason) error { return &refusal{r} }

// reasonOf returns the reason in an error of this package.
func reasonOf(err error) Reason {
	if err == nil {
		return NoReason
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.reason
	}
	return BadRecord
}
