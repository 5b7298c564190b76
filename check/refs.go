package check

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// place is an object of one of the databases.
type place struct {
	db  int
	oid zodb.OID
}

// maxPaths is for how many problems the path from a root is looked for. Of those
// beyond it is not told whether a root leads to them.
const maxPaths = 100_000

// Graph is what References knows of the databases afterwards.
type Graph struct {
	dbs     []Database
	numbers map[string]int
	classes classNames
	objects []*table[uint32] // the class of each object, as a number of classes
	report  *Report

	mu         sync.Mutex
	found      []*Problem
	unresolved map[string]int // references by the name of a database that is not here
	trees      *treeNodes
	references atomic.Int64
}

// References looks for references to what is missing, was deleted, or is of another
// class than the reference says, among all current records of the databases. Weak
// references are none: they are there to be broken.
//
// In a single database without a name, references to other databases cannot be
// followed; they are one warning for each of those. The databases may be written
// meanwhile: what is suspicious is looked at again.
func References(ctx context.Context, dbs []Database, r *Report) (*Graph, error) {
	g := &Graph{dbs: dbs, numbers: make(map[string]int), report: r, unresolved: make(map[string]int), trees: newTreeNodes(len(dbs))}
	g.classes.numbers = make(map[string]uint32)
	for i, db := range dbs {
		if _, twice := g.numbers[db.Name]; twice {
			return nil, fmt.Errorf("two databases are named %q", db.Name)
		}
		g.numbers[db.Name] = i
		g.objects = append(g.objects, newTable[uint32]())
	}
	for i := range dbs {
		if err := g.list(ctx, i); err != nil {
			return nil, err
		}
	}
	for i := range dbs {
		if err := g.follow(ctx, i); err != nil {
			return nil, err
		}
	}
	g.checkRoots(ctx)
	return g, g.tell(ctx)
}

// Objects and Counted say how much was looked at.
func (g *Graph) Objects() (n int) {
	for _, t := range g.objects {
		n += t.len()
	}
	return n
}

// Counted returns how many references there are.
func (g *Graph) Counted() int64 { return g.references.Load() }

// step names a part of the work on a database.
func (g *Graph) step(what string, db int) func(done, total int64) {
	if name := g.dbs[db].Name; name != "" {
		what += " of " + name
	}
	return func(done, total int64) { g.report.progress(what, done, total) }
}

// list learns which objects there are, and of which classes.
func (g *Graph) list(ctx context.Context, db int) error {
	objects := g.objects[db]
	err := g.dbs[db].Source.Each(ctx, g.step("objects", db), func(r *Record) error {
		if r.Err != nil {
			objects.set(r.OID, unknownClass)
			return nil
		}
		objects.set(r.OID, g.classes.of(r.Data))
		return nil
	})
	g.report.hold(objects.bytes())
	return err
}

// follow checks the references of all objects of a database.
func (g *Graph) follow(ctx context.Context, db int) error {
	return g.dbs[db].Source.Each(ctx, g.step("references", db), func(r *Record) error {
		return g.check(ctx, db, r, true)
	})
}

// check checks the references of one record. If again, a record that has something
// wrong is loaded anew, for what was read may have been replaced since.
func (g *Graph) check(ctx context.Context, db int, r *Record, again bool) error {
	problems, err := g.problems(ctx, db, r)
	if err != nil || len(problems) == 0 {
		return err
	}
	if again && r.Err == nil {
		now, err := g.dbs[db].Source.Load(ctx, r.OID)
		if _, gone := errors.AsType[*zodb.NoObjectError](err); gone {
			return nil
		}
		if err == nil && now.TID != r.TID {
			return g.check(ctx, db, now, false)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.found = append(g.found, problems...)
	return nil
}

// problems returns what is wrong with one record.
func (g *Graph) problems(ctx context.Context, db int, r *Record) ([]*Problem, error) {
	if r.Err != nil {
		return []*Problem{g.problem(KindUnreadable, db, r, "cannot be read: "+r.Err.Error())}, nil
	}
	var found []*Problem
	refs, err := pickle.AllReferences(r.Data, nil)
	if err != nil {
		return []*Problem{g.problem(KindUnreadable, db, r, "cannot be read: "+err.Error())}, nil
	}
	g.references.Add(int64(len(refs)))
	for _, t := range refs {
		p, err := g.target(ctx, db, r, t)
		if err != nil {
			return nil, err
		}
		if p != nil && !told(found, p) {
			found = append(found, p)
		}
	}
	g.trees.note(db, r.OID, g.classes.name(g.objects[db].get(r.OID)), r.Data)
	return found, nil
}

// told reports whether the same was found in this record already.
func told(found []*Problem, p *Problem) bool {
	for _, f := range found {
		if f.Kind == p.Kind && *f.Target == *p.Target {
			return true
		}
	}
	return false
}

func (g *Graph) object(p place) *Object {
	return &Object{Database: g.dbs[p.db].Name, OID: p.oid.String(), Class: className(g.classes.name(g.objects[p.db].get(p.oid)))}
}

func (g *Graph) problem(kind Kind, db int, r *Record, message string) *Problem {
	at := place{db, r.OID}
	return &Problem{Kind: kind, Database: g.dbs[db].Name, Object: g.object(at), TID: tidText(r.TID), Message: message, from: at}
}

// target checks one reference.
func (g *Graph) target(ctx context.Context, db int, r *Record, t pickle.Reference) (*Problem, error) {
	if t.Strength == pickle.Weak {
		return nil, nil
	}
	at := place{db, t.OID}
	if t.Database != "" && t.Database != g.dbs[db].Name {
		n, ok := g.numbers[t.Database]
		if !ok {
			return g.elsewhere(db, r, t), nil
		}
		at.db = n
	}
	have := g.objects[at.db].get(t.OID)
	if have == 0 {
		return g.missing(ctx, db, r, at, t)
	}
	if t.Class == (pickle.Class{}) || have == unknownClass || g.classes.number(t.Class) == have {
		return nil, nil
	}
	found := g.classes.name(have)
	p := g.problem(KindClass, db, r, fmt.Sprintf("refers to %s as a %v, and it is a %v", g.dbs[at.db].label(t.OID), t.Class, found))
	p.Warning, p.Found = true, found.String()
	p.Target = &Object{Database: g.dbs[at.db].Name, OID: t.OID.String(), Class: t.Class.String()}
	return p, nil
}

func (d Database) label(oid zodb.OID) string {
	if d.Name == "" {
		return oid.String()
	}
	return d.Name + ":" + oid.String()
}

// elsewhere is a reference to a database that is not here.
func (g *Graph) elsewhere(db int, r *Record, t pickle.Reference) *Problem {
	if len(g.dbs) == 1 && g.dbs[0].Name == "" {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.unresolved[t.Database]++
		return nil
	}
	p := g.problem(KindDatabase, db, r, fmt.Sprintf("refers to object %v of the database %q, which is not among those looked at", t.OID, t.Database))
	p.Target = &Object{Database: t.Database, OID: t.OID.String(), Class: className(t.Class)}
	return p
}

// missing is a reference to an object that was not there when the objects were listed.
func (g *Graph) missing(ctx context.Context, db int, r *Record, at place, t pickle.Reference) (*Problem, error) {
	_, err := g.dbs[at.db].Source.Load(ctx, at.oid)
	gone, ok := errors.AsType[*zodb.NoObjectError](err)
	switch {
	case err == nil:
		return nil, nil // it was made since
	case !ok:
		return nil, err
	}
	kind, what := KindMissing, "which does not exist"
	if gone.Known {
		kind, what = KindDeleted, "which was deleted, or its creation undone"
		if gone.DeletedAt != 0 {
			what += fmt.Sprintf(", by transaction %v", gone.DeletedAt)
		}
	}
	p := g.problem(kind, db, r, fmt.Sprintf("refers to %s, %s", g.dbs[at.db].label(at.oid), what))
	p.Target = &Object{Database: g.dbs[at.db].Name, OID: at.oid.String(), Class: className(t.Class)}
	return p, nil
}

func (g *Graph) checkRoots(ctx context.Context) {
	for i, db := range g.dbs {
		if g.objects[i].len() == 0 || g.objects[i].get(0) != 0 {
			continue
		}
		if _, err := db.Source.Load(ctx, 0); err == nil {
			continue
		}
		g.report.add(&Problem{Kind: KindRoot, Database: db.Name, Message: "there is no root object (0x00): nothing can be reached"})
	}
}

// tell finds the paths of what was found, and hands it out.
func (g *Graph) tell(ctx context.Context) error {
	slices.SortStableFunc(g.found, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.from.db, b.from.db), cmp.Compare(a.from.oid, b.from.oid))
	})
	with := g.found[:min(len(g.found), maxPaths)]
	if err := g.paths(ctx, with); err != nil {
		return err
	}
	for _, p := range g.found {
		if !p.idle {
			g.report.add(p)
		}
	}
	g.found = nil
	for name, n := range g.unresolved {
		g.report.add(&Problem{
			Kind: KindDatabase, Warning: true, Target: &Object{Database: name},
			Message: fmt.Sprintf("%d references to the database %q were not followed: name both databases to check them", n, name),
		})
	}
	clear(g.unresolved)
	return nil
}

// unknownClass is the number for the class of what cannot be read.
const unknownClass = 1

// classNames numbers classes. 0 is none.
type classNames struct {
	mu      sync.RWMutex
	numbers map[string]uint32
	names   []pickle.Class // by number - 2
}

func (c *classNames) name(n uint32) pickle.Class {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if n < 2 {
		return pickle.Class{}
	}
	return c.names[n-2]
}

func (c *classNames) number(class pickle.Class) uint32 {
	key := class.Module + "\n" + class.Name
	c.mu.RLock()
	n, ok := c.numbers[key]
	c.mu.RUnlock()
	if ok {
		return n
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok := c.numbers[key]; ok {
		return n
	}
	c.names = append(c.names, class)
	n = uint32(len(c.names)) + 1
	c.numbers[key] = n
	return n
}

// of returns the number of a record's class.
func (c *classNames) of(record []byte) uint32 {
	if names, ok := globalNames(record); ok {
		c.mu.RLock()
		n, ok := c.numbers[string(names)]
		c.mu.RUnlock()
		if ok {
			return n
		}
	}
	class, err := pickle.ClassOf(record)
	if err != nil {
		return unknownClass
	}
	return c.number(class)
}

// globalNames returns "module\nname" of a record whose first pickle is nothing but
// that class, as ZODB writes most of them: PROTO, GLOBAL, BINPUT, STOP.
func globalNames(record []byte) ([]byte, bool) {
	if len(record) < 8 || record[0] != 0x80 || record[2] != 'c' {
		return nil, false
	}
	rest := record[3:]
	i := bytes.IndexByte(rest, '\n')
	if i < 0 {
		return nil, false
	}
	j := bytes.IndexByte(rest[i+1:], '\n')
	if j < 0 {
		return nil, false
	}
	end := i + 1 + j
	after := rest[end+1:]
	if len(after) > 2 && after[0] == 'q' {
		after = after[2:]
	}
	return rest[:end], len(after) > 0 && after[0] == '.'
}
