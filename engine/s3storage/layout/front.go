package layout

import "fmt"

// FrontKind is where a log goes on.
type FrontKind byte

// The kinds of fronts.
const (
	InBucket   FrontKind = 0 // nowhere else
	InPostgres FrontKind = 1
	OnDisk     FrontKind = 2
)

func (k FrontKind) String() string {
	names := [...]string{InBucket: "s3", InPostgres: "postgres", OnDisk: "local"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("front %d", byte(k))
}

// Front tells where the slots behind a fence come from: from its writer's PUTs, or from a log
// that they are in before they are in the bucket. In a fence, and at the end of a checkpoint:
// nothing in the first case, and otherwise
//
//	1   kind: 1 PostgreSQL, 2 a directory
//	16  id of the log
//	    where it is, for people: bytes
type Front struct {
	Kind  FrontKind
	ID    ID
	Where string
}

func (f Front) append(b []byte) []byte {
	if f.Kind == InBucket {
		return b
	}
	b = append(b, byte(f.Kind))
	b = append(b, f.ID[:]...)
	return putBytes(b, []byte(f.Where))
}

// front reads a Front, which is what is left.
func (r *reader) front() (f Front) {
	if r.err != nil || len(r.b) == 0 {
		return f
	}
	f = Front{Kind: FrontKind(r.byte()), ID: r.id(), Where: string(r.bytes())}
	if f.Kind != InPostgres && f.Kind != OnDisk {
		r.fail(f.Kind.String() + " is not known")
	}
	return f
}
