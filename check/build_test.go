package check_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zaridb/zari/check"
	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// builder writes a database for a test.
type builder struct {
	t       *testing.T
	s       zodb.Storage
	path    string
	serials map[zodb.OID]zodb.TID
}

func build(t *testing.T) *builder {
	t.Helper()
	b := &builder{t: t, path: filepath.Join(t.TempDir(), "Data.fs"), serials: make(map[zodb.OID]zodb.TID)}
	b.open()
	t.Cleanup(func() { b.s.Close() })
	return b
}

func (b *builder) blobDir() string { return filepath.Join(filepath.Dir(b.path), "blobs") }

func (b *builder) open() {
	b.t.Helper()
	s, err := storages.Open(b.t.Context(), &config.FileStorage{Path: b.path, BlobDir: b.blobDir()}, storages.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.s = s
}

// object is what a test stores.
type object struct {
	oid   zodb.OID
	class string
	state any
	raw   []byte // instead of class and state
	blob  bool
}

func class(name string) *pickle.Global {
	i := strings.LastIndex(name, ".")
	return &pickle.Global{Module: name[:i], Name: name[i+1:]}
}

func ref(oid zodb.OID, name string) *pickle.Ref {
	b := oid.Bytes()
	if name == "" {
		return &pickle.Ref{ID: b[:]}
	}
	return &pickle.Ref{ID: pickle.Tuple{b[:], class(name)}}
}

func elsewhere(database string, oid zodb.OID) *pickle.Ref {
	b := oid.Bytes()
	return &pickle.Ref{ID: pickle.NewList("n", pickle.Tuple{database, b[:]})}
}

func weak(oid zodb.OID) *pickle.Ref {
	b := oid.Bytes()
	return &pickle.Ref{ID: pickle.NewList("w", pickle.Tuple{b[:]})}
}

const folder = "app.Folder"

// put commits objects in one transaction.
func (b *builder) put(objects ...object) zodb.TID {
	b.t.Helper()
	return b.commit(func(ctx context.Context, txn zodb.Txn) error {
		for _, o := range objects {
			record := o.raw
			if record == nil {
				var err error
				if record, err = pickle.EncodeRecord(class(o.class), o.state); err != nil {
					return err
				}
			}
			if o.blob {
				name := filepath.Join(b.t.TempDir(), "blob")
				if err := os.WriteFile(name, []byte("a blob"), 0o600); err != nil {
					return err
				}
				blobs, _ := zodb.As[zodb.BlobTxn](txn)
				if err := blobs.StoreBlob(ctx, o.oid, b.serials[o.oid], record, name); err != nil {
					return err
				}
				continue
			}
			if err := txn.Store(ctx, o.oid, b.serials[o.oid], record); err != nil {
				return err
			}
		}
		return nil
	}, objects)
}

func (b *builder) remove(oid zodb.OID) zodb.TID {
	b.t.Helper()
	return b.commit(func(ctx context.Context, txn zodb.Txn) error {
		deleter, _ := zodb.As[zodb.DeleteTxn](txn)
		return deleter.Delete(ctx, oid, b.serials[oid])
	}, []object{{oid: oid}})
}

func (b *builder) commit(fill func(context.Context, zodb.Txn) error, objects []object) zodb.TID {
	b.t.Helper()
	ctx := b.t.Context()
	txn, err := b.s.Begin(ctx, zodb.TxnMeta{User: []byte("u"), Description: []byte("a test")})
	if err != nil {
		b.t.Fatal(err)
	}
	defer txn.Abort()
	if err := fill(ctx, txn); err != nil {
		b.t.Fatal(err)
	}
	if _, err := txn.Vote(ctx); err != nil {
		b.t.Fatal(err)
	}
	tid, err := txn.Finish(ctx, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, o := range objects {
		b.serials[o.oid] = tid
	}
	return tid
}

// close closes the database, which writes its index.
func (b *builder) close() {
	b.t.Helper()
	if err := b.s.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// problems are what everything that check has finds in files.
func problems(t *testing.T, databases map[string]string, blobDir string) []*check.Problem {
	t.Helper()
	ctx := t.Context()
	var found []*check.Problem
	r := &check.Report{Found: func(p *check.Problem) { found = append(found, p) }}
	var dbs []check.Database
	names := make([]string, 0, len(databases))
	for name := range databases {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f, err := check.OpenFile(databases[name])
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Walk(ctx, r); err != nil {
			t.Fatal(err)
		}
		if err := f.Index(ctx, r); err != nil {
			t.Fatal(err)
		}
		if blobDir != "" {
			if err := f.Blobs(ctx, blobDir, r); err != nil {
				t.Fatal(err)
			}
		}
		dbs = append(dbs, check.Database{Name: name, Source: f})
	}
	g, err := check.References(ctx, dbs, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Trees(ctx); err != nil {
		t.Fatal(err)
	}
	return found
}

// brief is a problem without what differs from run to run.
func brief(p *check.Problem) string {
	var s strings.Builder
	if p.Warning {
		s.WriteString("warning ")
	}
	s.WriteString(string(p.Kind))
	if p.Object != nil {
		fmt.Fprintf(&s, " of %v", *p.Object)
	}
	if p.Target != nil {
		fmt.Fprintf(&s, " to %v", *p.Target)
	}
	if p.Found != "" {
		fmt.Fprintf(&s, " found %s", p.Found)
	}
	if len(p.Path) > 0 {
		s.WriteString(" by")
		for _, o := range p.Path {
			s.WriteString(" " + o.OID)
		}
	}
	return s.String()
}

func briefs(found []*check.Problem) []string {
	list := make([]string, len(found))
	for i, p := range found {
		list[i] = brief(p)
	}
	slices.Sort(list)
	return list
}

// undo undoes a transaction.
func (b *builder) undo(tid zodb.TID) {
	b.t.Helper()
	b.commit(func(ctx context.Context, txn zodb.Txn) error {
		undoer, _ := zodb.As[zodb.UndoTxn](txn)
		return undoer.Undo(ctx, tid)
	}, nil)
}
