package storagetest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zaridb/zari/zodb"
)

var blobGroup = group{name: "blob", needs: []Cap{CapBlobStore}, tests: []test{
	{name: "StoreAndLoad", run: testBlobStoreAndLoad},
	{name: "Revisions", run: testBlobRevisions},
	{name: "Unknown", run: testBlobUnknown},
	{name: "Aborted", run: testBlobAborted},
	{name: "Conflict", run: testBlobConflict},
	{name: "TempDir", run: testBlobTempDir},
	{name: "BlobDir", run: testBlobDir},
	{name: "Iterated", needs: []Cap{CapIterator}, run: testBlobIterated},
	{name: "Undo", needs: []Cap{CapUndoer}, run: testBlobUndo},
	{name: "UndoBelowALaterOne", needs: []Cap{CapUndoer}, run: testBlobUndoBelowALaterOne},
	{name: "UndoToNothing", needs: []Cap{CapUndoer}, run: testBlobUndoToNothing},
	{name: "Copy", needs: []Cap{CapIterator, CapRestorer}, history: true, run: testBlobCopy},
	{name: "Pack", needs: []Cap{CapPacker}, run: testBlobPack},
	{name: "Reopened", run: testBlobReopened},
}}

// staged writes a file where blobs are staged, and returns its path.
func (t *T) staged(content string) string {
	t.Helper()
	dir, err := ability[zodb.BlobStore](t, t.S).BlobTempDir()
	if err != nil {
		t.Fatalf("BlobTempDir: %v", err)
	}
	f, err := os.CreateTemp(dir, "staged-*.tmp")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// blobbing opens a transaction that stores a blob, and returns where it was staged.
func (t *T) blobbing(oid zodb.OID, serial zodb.TID, value int, content string) (zodb.Txn, string) {
	t.Helper()
	txn := t.begin()
	path := t.staged(content)
	if err := txnAbility[zodb.BlobTxn](t, txn).StoreBlob(t.ctx, oid, serial, Object(value), path); err != nil {
		t.Fatalf("StoreBlob(%v): %v", oid, err)
	}
	return txn, path
}

func (t *T) putBlob(oid zodb.OID, serial zodb.TID, value int, content string) zodb.TID {
	t.Helper()
	txn, path := t.blobbing(oid, serial, value, content)
	tid := t.end(txn)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the staged file of a committed blob is still there: %v", err)
	}
	return tid
}

// blob checks the content of a blob.
func (t *T) blob(oid zodb.OID, serial zodb.TID, content string) {
	t.Helper()
	t.blobOf(t.S, oid, serial, content)
}

func (t *T) blobOf(s zodb.Storage, oid zodb.OID, serial zodb.TID, content string) {
	t.Helper()
	path, err := ability[zodb.BlobStore](t, s).LoadBlob(t.ctx, oid, serial)
	if err != nil {
		t.Fatalf("LoadBlob(%v, %v): %v", oid, serial, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("LoadBlob(%v, %v): %v", oid, serial, err)
	}
	equal(t, "content of the blob", string(data), content)
}

func (t *T) noBlob(oid zodb.OID, serial zodb.TID) {
	t.Helper()
	_, err := ability[zodb.BlobStore](t, t.S).LoadBlob(t.ctx, oid, serial)
	isError[*zodb.NoObjectError](t, "LoadBlob of what has no blob", err)
}

func testBlobStoreAndLoad(t *T) {
	tid := t.putBlob(1, 0, 1, "some bytes")
	t.current(1, tid, Object(1))
	t.blob(1, tid, "some bytes")
	path, err := ability[zodb.BlobStore](t, t.S).LoadBlob(t.ctx, 1, tid)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o222 != 0 {
		t.Errorf("the blob's file may be written: %v", info.Mode())
	}
	empty := t.putBlob(2, 0, 2, "")
	t.blob(2, empty, "")
}

func testBlobRevisions(t *T) {
	first := t.putBlob(1, 0, 1, "one")
	second := t.putBlob(1, first, 2, "two")
	t.blob(1, second, "two")
	if t.keepsHistory() {
		t.blob(1, first, "one")
	}
}

func testBlobUnknown(t *T) {
	tid := t.putBlob(1, 0, 1, "one")
	t.noBlob(1, tid+1)
	t.noBlob(99, tid)
	plain := t.put(2, 0, Object(2))
	t.noBlob(2, plain)
}

func testBlobAborted(t *T) {
	for _, voted := range []bool{false, true} {
		txn, path := t.blobbing(1, 0, 1, "never")
		if voted {
			t.vote(txn)
		}
		txn.Abort()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the staged file of an aborted transaction is still there (voted: %v): %v", voted, err)
		}
		t.absent(1, zodb.MaxTID)
	}
}

// A merged state keeps the blob that was stored with the first one.
func testBlobConflict(t *T) {
	first := t.putBlob(1, 0, 1, "one")
	second := t.putBlob(1, first, 2, "two")
	txn, _ := t.blobbing(1, first, 3, "three")
	equal(t, "Committed", conflicts(t, txn)[0].Committed, second)
	t.store(txn, write{1, second, Object(4)})
	tid := t.end(txn)
	t.current(1, tid, Object(4))
	t.blob(1, tid, "three")
}

func testBlobTempDir(t *T) {
	dir, err := ability[zodb.BlobStore](t, t.S).BlobTempDir()
	if err != nil {
		t.Fatalf("BlobTempDir: %v", err)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Errorf("BlobTempDir is %q, which is no directory (%v)", dir, err)
	}
}

func testBlobDir(t *T) {
	for _, oid := range []zodb.OID{1, 1<<40 + 7} {
		dir, err := ability[zodb.BlobStore](t, t.S).BlobDir(oid)
		if err != nil {
			t.Fatalf("BlobDir(%v): %v", oid, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "left.tmp"), []byte("x"), 0o600); err != nil {
			t.Errorf("a file in BlobDir(%v): %v", oid, err)
		}
		os.Remove(filepath.Join(dir, "left.tmp"))
	}
}

func testBlobIterated(t *T) {
	t.putBlob(1, 0, 1, "one")
	t.put(2, 0, Object(2))
	txns := t.history()
	equal(t, "the record with a blob", txns[0].Records, []zodb.TxnRecord{{OID: 1, Data: Object(1), Blob: true}})
	equal(t, "the record without", txns[1].Records, []zodb.TxnRecord{{OID: 2, Data: Object(2)}})
}

func testBlobUndo(t *T) {
	first := t.putBlob(1, 0, 1, "one")
	second := t.putBlob(1, first, 2, "two")
	tid := t.undo(second)
	t.current(1, tid, Object(1))
	t.blob(1, tid, "one")
	t.blob(1, second, "two")
	tid = t.undo(tid)
	t.current(1, tid, Object(2))
	t.blob(1, tid, "two")
}

// The records of a blob's revisions are alike. That does not make its files the
// same: what was stored later stands in the way of an undo.
func testBlobUndoBelowALaterOne(t *T) {
	first := t.putBlob(1, 0, 1, "one")
	second := t.putBlob(1, first, 1, "two")
	third := t.putBlob(1, second, 1, "three")
	t.undoFails(second)
	t.current(1, third, Object(1))
	t.blob(1, third, "three")
	tid := t.undo(third)
	t.blob(1, tid, "two")
	tid = t.undo(second) // what is there now is what it made
	t.blob(1, tid, "one")
	tid = t.undo(tid)
	t.blob(1, tid, "two")
	fourth := t.putBlob(1, tid, 1, "four")
	tid = t.undo(fourth, tid) // in one transaction
	t.blob(1, tid, "one")
}

// Two undos in one transaction, the second of which undoes the creation.
func testBlobUndoToNothing(t *T) {
	first := t.putBlob(1, 0, 1, "one")
	second := t.putBlob(1, first, 2, "two")
	tid := t.undo(second, first)
	t.gone(1, tid)
	t.noBlob(1, tid)
}

func testBlobCopy(t *T) {
	first := t.putBlob(1, 0, 1, "one")
	second := t.putBlob(1, first, 2, "two")
	t.put(2, 0, Object(3))
	dst := t.copied()
	t.blobOf(dst, 1, first, "one")
	t.blobOf(dst, 1, second, "two")
}

func testBlobPack(t *T) {
	first := t.putBlob(1, 0, 1, "one")
	second := t.putBlob(1, first, 2, "two")
	path, err := ability[zodb.BlobStore](t, t.S).LoadBlob(t.ctx, 1, first)
	if err != nil && t.keepsHistory() {
		t.Fatalf("LoadBlob: %v", err)
	}
	t.pack(t.between())
	t.blob(1, second, "two")
	t.noBlob(1, first)
	if _, err := os.Lstat(path); path != "" && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file of a blob that is packed away is still there: %v", err)
	}
}

func testBlobReopened(t *T) {
	tid := t.putBlob(1, 0, 1, "one")
	t.reopen()
	t.blob(1, tid, "one")
	t.putBlob(1, tid, 2, "two")
}
