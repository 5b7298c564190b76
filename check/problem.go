package check

import (
	"fmt"
	"strings"
	"sync"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Kind names what is wrong. The names are stable.
type Kind string

// The kinds of problems.
const (
	KindStructure    Kind = "structure"     // bytes of a Data.fs that cannot be right
	KindIndex        Kind = "index"         // the .index says something else than the file
	KindUnreadable   Kind = "unreadable"    // a current record that cannot be read, or is no pickle
	KindMissing      Kind = "missing"       // a reference to an object that never was, or was packed away
	KindDeleted      Kind = "deleted"       // a reference to an object that was deleted, or whose creation was undone
	KindDatabase     Kind = "no-database"   // a reference to a database that is not among those looked at
	KindClass        Kind = "class"         // a reference that names another class than the object has
	KindRoot         Kind = "no-root"       // the database has no root object
	KindBlobMissing  Kind = "blob-missing"  // a blob without a file
	KindBlobStray    Kind = "blob-stray"    // a file without a blob
	KindTree         Kind = "btree"         // keys out of order, or links that do not fit
	KindInlineBucket Kind = "btree-inline"  // a bucket that is kept twice: in its tree, and by oid
	KindSeparator    Kind = "btree-divider" // a key that divides a tree's children lies below what it divides
)

// Object names an object of a database.
type Object struct {
	Database string `json:"database,omitempty"`
	OID      string `json:"oid"`
	Class    string `json:"class,omitempty"`
}

// String returns "0x2a app.Folder", and the database if it has a name.
func (o Object) String() string {
	s := o.OID
	if o.Database != "" {
		s = o.Database + ":" + s
	}
	if o.Class != "" {
		s += " " + o.Class
	}
	return s
}

// Problem is something that is wrong.
type Problem struct {
	Kind     Kind   `json:"kind"`
	Warning  bool   `json:"warning,omitempty"`
	Database string `json:"database,omitempty"`
	Message  string `json:"message"`

	// Of the structure.
	File   string `json:"file,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	Record string `json:"record,omitempty"` // what is there: "data record" ...

	// Of objects. Path leads from a root to Object, or to the tree that it is in, both
	// included; it is empty if there is none.
	Object *Object  `json:"object,omitempty"`
	TID    string   `json:"tid,omitempty"` // that wrote Object
	Target *Object  `json:"target,omitempty"`
	Found  string   `json:"found,omitempty"` // the class that Target has
	Path   []Object `json:"path,omitempty"`

	from place // where Path ends
	idle bool  // it is of a tree that nobody uses
}

// String returns the problem in one line, or more where there is a path.
func (p *Problem) String() string {
	var b strings.Builder
	if p.Warning {
		b.WriteString("warning: ")
	}
	fmt.Fprintf(&b, "%s: ", p.Kind)
	if p.File != "" {
		fmt.Fprintf(&b, "%s: ", p.File)
	}
	if p.Record != "" {
		fmt.Fprintf(&b, "%s at offset %d: ", p.Record, p.Offset)
	}
	if p.Object != nil {
		fmt.Fprintf(&b, "object %v ", *p.Object)
		if p.TID != "" {
			fmt.Fprintf(&b, "(of transaction %s) ", p.TID)
		}
	}
	b.WriteString(p.Message)
	if len(p.Path) > 1 {
		b.WriteString("\n    path: ")
		for i, o := range p.Path {
			if i > 0 {
				b.WriteString(" / ")
			}
			b.WriteString(o.String())
		}
	}
	return b.String()
}

// Report collects problems. Its methods may be called from several goroutines.
type Report struct {
	// Found is called for every problem, one at a time.
	Found func(*Problem)
	// Progress, if set, is told how far a step has come. total is 0 if nobody knows.
	Progress func(step string, done, total int64)

	mu       sync.Mutex
	errors   int
	warnings int
	memory   int64
	peak     int64
}

// Errors and Warnings count what was found.
func (r *Report) Errors() int { return r.count(&r.errors) }

// Warnings counts the warnings that were found.
func (r *Report) Warnings() int { return r.count(&r.warnings) }

func (r *Report) count(n *int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *n
}

// Memory returns the most bytes that the tables of objects took at a time.
func (r *Report) Memory() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peak
}

// hold says that tables take n more bytes.
func (r *Report) hold(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.memory += n
	r.peak = max(r.peak, r.memory)
}

func (r *Report) add(p *Problem) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.Warning {
		r.warnings++
	} else {
		r.errors++
	}
	if r.Found != nil {
		r.Found(p)
	}
}

func (r *Report) progress(step string, done, total int64) {
	if r.Progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Progress(step, done, total)
}

// ofTree reports whether the problem is one of a tree.
func (p *Problem) ofTree() bool {
	return p.Kind == KindTree || p.Kind == KindInlineBucket || p.Kind == KindSeparator
}

func className(c pickle.Class) string {
	if c == (pickle.Class{}) {
		return ""
	}
	return c.String()
}

func tidText(tid zodb.TID) string {
	if tid == 0 {
		return ""
	}
	return tid.String()
}
