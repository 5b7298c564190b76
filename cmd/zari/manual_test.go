package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// TestManual runs the examples of the pages about check and gc: lines that begin with
// $ in blocks that do, "..." standing for what differs.
func TestManual(t *testing.T) {
	for _, page := range []string{"check.md", "gc.md"} {
		t.Run(page, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations", page))
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			manualDatabases(t, string(text))
			runManual(t, string(text))
		})
	}
}

// TestS3Manual runs those of the page about S3 that need no server.
func TestS3Manual(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations", "s3.md"))
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(page), "## A first database")
	_, after, _ := strings.Cut(rest, "\n## ")
	t.Chdir(t.TempDir())
	manualDatabases(t, "")
	srv := "s3dir://" + t.TempDir() + "/"
	zariOK(t, "copy", "file://Data.fs?blobstorage_dir=blobs", srv+"plone?blob-dir="+t.TempDir())
	runManual(t, strings.ReplaceAll(before+after, "s3dir:///srv/", srv))
}

// runManual runs the examples of a page.
func runManual(t *testing.T, text string) {
	t.Helper()
	n, status := 0, 0
	for _, e := range examples(text) {
		n++
		if e.command == "echo $?" {
			if want, _ := strconv.Atoi(strings.TrimSpace(e.output)); want != status {
				t.Errorf("the exit status is %d, not %d", status, want)
			}
			continue
		}
		code, out, errOut := zari(t, strings.Fields(e.command)[1:]...)
		status = code
		if code == exitUsage {
			t.Errorf("%s: %s", e.command, errOut)
		}
		if !regexp.MustCompile(e.pattern()).MatchString(out) {
			t.Errorf("%s prints\n%s\nand the manual has\n%s", e.command, out, e.output)
		}
	}
	if n < 3 {
		t.Errorf("only %d examples", n)
	}
}

// example is a command of a manual with what it prints.
type example struct{ command, output string }

func (e example) pattern() string {
	p := regexp.QuoteMeta(strings.TrimRight(e.output, "\n"))
	return `(?s)^` + strings.ReplaceAll(p, `\.\.\.`, `.*`) + `\n*$`
}

func examples(text string) []example {
	var list []example
	inside := false
	for line := range strings.Lines(text) {
		code, indented := strings.CutPrefix(line, "    ")
		command, isCommand := strings.CutPrefix(code, "$ ")
		switch {
		case indented && isCommand:
			list = append(list, example{command: strings.TrimSpace(command)})
			inside = true
		case strings.TrimSpace(line) == "" && inside:
			list[len(list)-1].output += "\n"
		case !indented:
			inside = false
		case inside:
			list[len(list)-1].output += code
		}
	}
	return list
}

// manualDatabases makes what the manuals speak of, in the current folder.
func manualDatabases(t *testing.T, text string) {
	t.Helper()
	if _, conf, ok := strings.Cut(text, "    <zodb main>"); ok {
		conf, _, _ = strings.Cut("    <zodb main>"+conf, "\n\n")
		writeText(t, "zodb.conf", conf)
	} else {
		writeText(t, "zodb.conf", "<zodb main>\n<filestorage>\npath main.fs\n</filestorage>\n</zodb>\n<zodb catalog>\n<filestorage>\npath catalog.fs\n</filestorage>\n</zodb>\n")
	}
	folder, document := "app.Folder", "app.Document"
	data := pickle.NewDict(
		"title", "A page", "price", &pickle.Object{Class: global("decimal.Decimal"), Args: pickle.Tuple{"1.50"}},
		"modified", &pickle.Object{Class: global("datetime.datetime"), Args: pickle.Tuple{[]byte{7, 234, 11, 25, 10, 30, 0, 0, 0, 0}}},
		"gone", to(0x63, "app.Gone"), "image", to(4, "app.Image"), "parent", &pickle.Ref{ID: pickle.NewList("w", pickle.Tuple{oidBytes(1)})},
	)
	fill(t, "file://Data.fs?blobstorage_dir=blobs", []stored{
		{0, folder, pickle.NewDict("folder", to(1, folder))},
		{1, folder, pickle.NewDict("page", to(2, document), "image", to(3, "app.Image"))},
		{2, document, data},
		{3, "ZODB.blob.Blob", nil},
		{4, "app.Image", nil},
	}, 4)
	bad := any(nil)
	if strings.Contains(text, "catalog:0x08") {
		bad = elsewhere("catalog", 8)
	}
	fill(t, "file://main.fs", []stored{
		{0, folder, pickle.NewDict("a", elsewhere("catalog", 2), "b", bad)},
		{5, folder, to(6, document)},
		{6, document, elsewhere("catalog", 7)},
	}, 0)
	fill(t, "file://catalog.fs", []stored{
		{0, folder, nil}, {1, folder, nil}, {2, folder, to(1, folder)}, {7, folder, nil}, {9, folder, nil},
	}, 9)
}

type stored struct {
	oid   zodb.OID
	class string
	state any
}

// fill makes a storage of objects, one of which is deleted if it is not 0.
func fill(t *testing.T, url string, objects []stored, deleted zodb.OID) {
	t.Helper()
	s, err := storages.OpenURL(t.Context(), url, storages.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var serial zodb.TID
	for _, blobs := range []bool{false, true} {
		tid := transact(t, s, func(ctx context.Context, txn zodb.Txn) error {
			for _, o := range objects {
				if blobs != (o.class == "ZODB.blob.Blob") {
					continue
				}
				if err := o.store(ctx, t, txn); err != nil {
					return err
				}
			}
			return nil
		})
		if !blobs {
			serial = tid
		}
	}
	if deleted != 0 {
		transact(t, s, func(ctx context.Context, txn zodb.Txn) error {
			deleter, _ := zodb.As[zodb.DeleteTxn](txn)
			return deleter.Delete(ctx, deleted, serial)
		})
	}
}

func (o stored) store(ctx context.Context, t *testing.T, txn zodb.Txn) error {
	record, err := pickle.EncodeRecord(global(o.class), o.state)
	if err != nil {
		return err
	}
	if o.class != "ZODB.blob.Blob" {
		return txn.Store(ctx, o.oid, 0, record)
	}
	name := filepath.Join(t.TempDir(), "blob")
	writeText(t, name, "a blob")
	blobs, _ := zodb.As[zodb.BlobTxn](txn)
	return blobs.StoreBlob(ctx, o.oid, 0, record, name)
}

func transact(t *testing.T, s zodb.Storage, fill func(context.Context, zodb.Txn) error) zodb.TID {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	if err := fill(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	tid, err := txn.Finish(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func oidBytes(oid zodb.OID) []byte { b := oid.Bytes(); return b[:] }

func global(name string) *pickle.Global {
	i := strings.LastIndex(name, ".")
	return &pickle.Global{Module: name[:i], Name: name[i+1:]}
}

func to(oid zodb.OID, class string) *pickle.Ref {
	return &pickle.Ref{ID: pickle.Tuple{oidBytes(oid), global(class)}}
}

func elsewhere(database string, oid zodb.OID) *pickle.Ref {
	return &pickle.Ref{ID: pickle.NewList("n", pickle.Tuple{database, oidBytes(oid)})}
}
