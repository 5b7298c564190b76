package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/zodb"
)

// Rule names what a server did wrong. The package comment explains each.
type Rule string

// The rules, in the order of the package comment.
const (
	RuleOrder      Rule = "order"
	RuleAhead      Rule = "ahead"
	RuleBehind     Rule = "behind"
	RuleStale      Rule = "stale"
	RuleCache      Rule = "cache"
	RuleSnapshot   Rule = "snapshot"
	RuleGap        Rule = "gap"
	RuleLostUpdate Rule = "lost-update"
	RuleCheck      Rule = "check"
	RuleRealTime   Rule = "real-time"
	RuleDurable    Rule = "durable"
	RuleGhost      Rule = "ghost"
	RuleContent    Rule = "content"
	RuleOIDs       Rule = "oids"
	RuleStuck      Rule = "stuck"
	RuleDropped    Rule = "dropped"
)

// Violation is one step that a correct server cannot take.
type Violation struct {
	Rule    Rule
	Session string   // the connection that saw it, or "database"
	Detail  string   // what was seen, and what would have been right
	Trail   []string // the last frames of the connection, oldest first
}

// String prints the violation with its trail, one line for each frame.
func (v Violation) String() string {
	s := fmt.Sprintf("%s: %s: %s", v.Rule, v.Session, v.Detail)
	if len(v.Trail) > 0 {
		s += "\n    " + strings.Join(v.Trail, "\n    ")
	}
	return s
}

// Options adjust a [Checker]. The zero value is what ZEO promises.
type Options struct {
	// Now is a clock that never goes back, in nanoseconds. nil: the process's.
	Now func() int64
	// NextInView forbids that a load names a successor newer than the view. No
	// client is harmed by it: it says only that the revision is not current.
	NextInView bool
	// Tolerate names rules that the server is known to break. What they find is
	// only counted, so that the others can be watched.
	Tolerate []Rule
}

// maxViolations bounds what is kept; later ones are only counted.
const maxViolations = 20

// Checker judges what all connections of a run see. Its methods are safe for
// concurrent use, except Verify, which needs all sessions to be at rest.
type Checker struct {
	opts     Options
	finished atomic.Uint64 // the largest tid in a finish reply received by anybody
	frames   atomic.Int64

	mu         sync.Mutex
	sessions   []*Session // of this window, lost ones included
	intents    map[StateID]*Intent
	oids       map[zodb.OID]struct{}
	violations []Violation
	more       int
	tolerated  map[Rule]int
	skipped    int // facts about revisions that are no longer kept
	beyond     atomic.Int64

	history history
}

// NewChecker returns a checker for a database that is empty.
func NewChecker(opts Options) *Checker {
	if opts.Now == nil {
		start := time.Now()
		opts.Now = func() int64 { return int64(time.Since(start)) }
	}
	return &Checker{
		opts:    opts,
		intents: make(map[StateID]*Intent), oids: make(map[zodb.OID]struct{}),
		tolerated: make(map[Rule]int), history: newHistory(),
	}
}

// Violations returns what was found so far, at most 20, and how many more.
func (c *Checker) Violations() (found []Violation, more int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Violation(nil), c.violations...), c.more
}

// Broken reports whether anything was found.
func (c *Checker) Broken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.violations) > 0
}

// Frames returns the number of frames that were observed.
func (c *Checker) Frames() int64 { return c.frames.Load() }

// Beyond returns how many loads named a successor newer than the view.
func (c *Checker) Beyond() int64 { return c.beyond.Load() }

// Skipped returns how many facts were about revisions too old to be judged.
func (c *Checker) Skipped() int { return c.skipped }

// Head returns the last transaction of the truth that was verified.
func (c *Checker) Head() zodb.TID { return c.history.base }

// Transactions returns how many transactions of the truth were verified.
func (c *Checker) Transactions() int { return c.history.count }

// Report adds a violation that was found outside the checker, by a client that
// waited too long or was dropped. s may be nil.
func (c *Checker) Report(rule Rule, s *Session, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case slices.Contains(c.opts.Tolerate, rule):
		c.tolerated[rule]++
		return
	case len(c.violations) >= maxViolations:
		c.more++
		return
	}
	v := Violation{Rule: rule, Session: "database", Detail: fmt.Sprintf(format, args...)}
	if s != nil {
		v.Session = s.name
		v.Trail = s.trail.lines()
	}
	c.violations = append(c.violations, v)
}

// HandedOut takes oids that the server gave to somebody.
func (c *Checker) HandedOut(s *Session, oids []zodb.OID) {
	for _, oid := range oids {
		c.mu.Lock()
		_, twice := c.oids[oid]
		c.oids[oid] = struct{}{}
		c.mu.Unlock()
		if twice {
			c.Report(RuleOIDs, s, "oid %v was handed out before", oid)
		}
	}
}

// Tolerated returns how often each of the tolerated rules was broken.
func (c *Checker) Tolerated() map[Rule]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.tolerated)
}

// finish raises the largest finished tid.
func (c *Checker) finish(tid zodb.TID) {
	for {
		old := c.finished.Load()
		if uint64(tid) <= old || c.finished.CompareAndSwap(old, uint64(tid)) {
			return
		}
	}
}
