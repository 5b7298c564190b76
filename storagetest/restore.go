package storagetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/zaridb/zari/zodb"
)

// The restore group is about transactions that come from another storage, tid
// and all (RecoveryStorage).
var restoreGroup = group{name: "restore", needs: []Cap{CapRestorer}, tests: []test{
	{name: "GivenTID", run: testRestoreGivenTID},
	{name: "TIDTooOld", run: testRestoreTIDTooOld},
	{name: "WithoutTID", run: testRestoreWithoutTID},
	{name: "NoConflicts", run: testRestoreNoConflicts},
	{name: "Deletion", run: testRestoreDeletion},
	{name: "Future", run: testRestoreFuture},
	{name: "Status", needs: []Cap{CapIterator}, history: true, run: testRestoreStatus},
	{name: "FromMissing", run: testRestoreFromMissing},
	{name: "Copy", needs: []Cap{CapIterator}, run: testRestoreCopy},
	{name: "CopyOfUndo", needs: []Cap{CapIterator, CapUndoer}, run: testRestoreCopyOfUndo},
	{name: "CopyContinued", needs: []Cap{CapIterator}, run: testRestoreCopyContinued},
	{name: "AcrossPack", needs: []Cap{CapIterator, CapUndoer, CapPacker}, run: testRestoreAcrossPack},
	{name: "CommitsBeside", run: testRestoreCommitsBeside},
}}

// restoring opens a transaction with a given tid and one restored record.
func (t *T) restoring(meta zodb.TxnMeta, records ...zodb.TxnRecord) zodb.Txn {
	t.Helper()
	txn := t.beginWith(meta)
	for _, r := range records {
		if err := txnAbility[zodb.RestoreTxn](t, txn).Restore(t.ctx, r.OID, r.Data, r.From); err != nil {
			t.Fatalf("Restore(%v): %v", r.OID, err)
		}
	}
	return txn
}

func (t *T) restore(tid zodb.TID, records ...zodb.TxnRecord) {
	t.Helper()
	equal(t, "tid of a restored transaction", t.end(t.restoring(zodb.TxnMeta{TID: tid}, records...)), tid)
}

func testRestoreGivenTID(t *T) {
	t.restore(1000, zodb.TxnRecord{OID: 1, Data: Object(1)}, zodb.TxnRecord{OID: 2, Data: Object(2)})
	t.current(1, 1000, Object(1))
	t.restore(1001, zodb.TxnRecord{OID: 1, Data: Object(3)})
	t.current(1, 1001, Object(3))
	t.current(2, 1000, Object(2))
	equal(t, "LastTID", t.S.LastTID(), 1001)
	tid := t.put(1, 1001, Object(4))
	t.current(1, tid, Object(4))
}

func testRestoreTIDTooOld(t *T) {
	last := t.put(1, 0, Object(1))
	for _, tid := range []zodb.TID{1, last - 1, last} {
		txn := t.restoring(zodb.TxnMeta{TID: tid}, zodb.TxnRecord{OID: 1, Data: Object(2)})
		if _, err := txn.Vote(t.ctx); err == nil {
			t.Errorf("Vote with tid %v, which is not after %v: no error", tid, last)
		}
		txn.Abort()
	}
	t.current(1, last, Object(1))
}

// A restore says when it was.
func testRestoreWithoutTID(t *T) {
	txn := t.begin()
	err := txnAbility[zodb.RestoreTxn](t, txn).Restore(t.ctx, 1, Object(1), 0)
	if err == nil {
		_, err = txn.Vote(t.ctx)
	}
	if err == nil {
		t.Errorf("Restore in a transaction without a given tid: no error")
	}
	txn.Abort()
	tid := t.put(1, 0, Object(2))
	t.current(1, tid, Object(2))
}

func testRestoreNoConflicts(t *T) {
	tids := t.revisions(1, 2)
	tid := tids[1] + 1
	t.restore(tid, zodb.TxnRecord{OID: 1, Data: Object(9)}, zodb.TxnRecord{OID: 77, Data: Object(8)})
	t.current(1, tid, Object(9))
	t.current(77, tid, Object(8))
}

func testRestoreDeletion(t *T) {
	t.restore(1000, zodb.TxnRecord{OID: 1, Data: Object(1)})
	t.restore(1001, zodb.TxnRecord{OID: 1})
	t.gone(1, 1001)
	t.restore(1002, zodb.TxnRecord{OID: 1, Data: Object(2)})
	t.current(1, 1002, Object(2))
}

// Where the restored tid lies in the future, ordinary commits come after it.
func testRestoreFuture(t *T) {
	future := zodb.TIDAt(t.H.Now().AddDate(10, 0, 0))
	t.restore(future, zodb.TxnRecord{OID: 1, Data: Object(1)})
	tid := t.put(1, future, Object(2))
	if tid <= future {
		t.Errorf("commit after %v got %v", future, tid)
	}
	t.current(1, tid, Object(2))
}

func testRestoreStatus(t *T) {
	meta := zodb.TxnMeta{TID: 1000, Status: 'p', User: []byte("u"), Description: []byte("d"), Extension: extension}
	t.end(t.restoring(meta, zodb.TxnRecord{OID: 1, Data: Object(1)}))
	txn := t.history()[0]
	equal(t, "Status", txn.Status, 'p')
	equal(t, "User", string(txn.User), "u")
	equal(t, "Description", string(txn.Description), "d")
	equal(t, "Extension", txn.Extension, extension)
}

// The revision that the data came from may have been packed away here.
func testRestoreFromMissing(t *T) {
	t.restore(1000, zodb.TxnRecord{OID: 1, Data: Object(1)})
	t.restore(2000, zodb.TxnRecord{OID: 1, Data: Object(2), From: 500})
	t.current(1, 2000, Object(2))
	t.restore(3000, zodb.TxnRecord{OID: 1, Data: Object(1), From: 1000})
	t.current(1, 3000, Object(1))
	t.restore(4000, zodb.TxnRecord{OID: 1, Data: Object(4), From: 1000}) // From must not be believed
	t.current(1, 4000, Object(4))
}

// copyTo restores transactions of src into dst. Blobs are staged in dir.
func copyTo(ctx context.Context, dst zodb.Storage, src zodb.Storage, txns []*zodb.Transaction, dir string) error {
	for _, t := range txns {
		if err := copyOne(ctx, dst, src, t, dir); err != nil {
			return fmt.Errorf("copy of transaction %v: %w", t.TID, err)
		}
	}
	return nil
}

func copyOne(ctx context.Context, dst, src zodb.Storage, t *zodb.Transaction, dir string) error {
	txn, err := dst.Begin(ctx, zodb.TxnMeta{
		TID: t.TID, Status: t.Status, User: t.User, Description: t.Description, Extension: t.Extension, Token: t.Token,
	})
	if err != nil {
		return err
	}
	defer txn.Abort()
	for _, r := range t.Records {
		if err := copyRecord(ctx, txn, src, t.TID, r, dir); err != nil {
			return err
		}
	}
	if _, err := txn.Vote(ctx); err != nil {
		return err
	}
	_, err = txn.Finish(ctx, nil)
	return err
}

func copyRecord(ctx context.Context, txn zodb.Txn, src zodb.Storage, tid zodb.TID, r zodb.TxnRecord, dir string) error {
	if !r.Blob {
		restorer, _ := zodb.As[zodb.RestoreTxn](txn)
		return restorer.Restore(ctx, r.OID, r.Data, r.From)
	}
	blobs, _ := zodb.As[zodb.BlobStore](src)
	path, err := blobs.LoadBlob(ctx, r.OID, tid)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	staged := filepath.Join(dir, fmt.Sprintf("%v-%v.copy", r.OID, tid))
	if err := os.WriteFile(staged, data, 0o600); err != nil {
		return err
	}
	restorer, _ := zodb.As[zodb.BlobTxn](txn)
	return restorer.RestoreBlob(ctx, r.OID, r.Data, r.From, staged)
}

// another makes a second, empty storage.
func (t *T) another() zodb.Storage {
	t.Helper()
	s := t.H.New(t)
	t.Cleanup(func() { closeTwice(t, s) })
	return s
}

// copied copies the storage's whole history to a new one and compares.
func (t *T) copied() zodb.Storage {
	t.Helper()
	dst := t.another()
	if err := copyTo(t.ctx, dst, t.S, t.history(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.sameHistory(dst)
	return dst
}

// sameHistory compares the storage under test with another one.
func (t *T) sameHistory(s zodb.Storage) {
	t.Helper()
	equal(t, "history of the copy", plain(t.historyOf(s, 0, 0)), plain(t.history()))
	Audit(t, s)
}

// plain is a history without what the medium decides.
func plain(txns []*zodb.Transaction) []zodb.Transaction {
	all := make([]zodb.Transaction, len(txns))
	for i, txn := range txns {
		all[i] = *txn
		all[i].Size, all[i].Token = 0, zodb.Token{}
		all[i].User, all[i].Description = orNil(txn.User), orNil(txn.Description)
		all[i].Extension = orNil(txn.Extension)
		all[i].Records = slices.Clone(txn.Records)
		slices.SortFunc(all[i].Records, func(a, b zodb.TxnRecord) int { return int(a.OID) - int(b.OID) })
	}
	return all
}

func orNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

func testRestoreCopy(t *T) {
	tids := t.revisions(1, 4)
	t.commit(write{1, tids[3], Object(5)}, write{2, 0, Object(1)}, write{3, 0, Object(2)})
	if t.has(CapDeleter) {
		t.remove(2, t.load(2).Serial)
	}
	t.copied()
}

func testRestoreCopyOfUndo(t *T) {
	t1 := t.commit(write{1, 0, Object(1)}, write{2, 0, Object(1)})
	t2 := t.commit(write{1, t1, Object(2)}, write{2, t1, Object(3)})
	t3 := t.undo(t2) // two records that point back
	t4 := t.undo(t3) // and two that point to those
	t5 := t.put(1, t4, Object(4))
	t6 := t.undo(t5)
	t.undo(t6)
	t.undo(t.put(9, 0, Object(9)))
	dst := t.copied()
	if un, ok := zodb.As[zodb.Undoer](dst); ok {
		log, err := un.UndoLog(t.ctx, 0, 100, nil)
		if err != nil {
			t.Fatalf("UndoLog of the copy: %v", err)
		}
		equal(t, "entries in the undo log of the copy", len(log), len(t.undoLog(0, 100, nil)))
	}
}

// A copy is brought up to date from where it ends.
func testRestoreCopyContinued(t *T) {
	tids := t.revisions(1, 3)
	dst := t.copied()
	last := tids[2]
	for i := range 3 {
		last = t.put(1, last, Object(10+i))
		t.put(zodb.OID(2+i), 0, Object(i))
		if err := copyTo(t.ctx, dst, t.S, t.historyOf(t.S, dst.LastTID()+1, 0), t.TempDir()); err != nil {
			t.Fatal(err)
		}
		t.sameHistory(dst)
	}
}

// A record that says it came from a revision that the copy has packed away.
func testRestoreAcrossPack(t *T) {
	tids := t.revisions(1, 2)
	t.put(2, 0, Object(2))
	dst := t.copied()
	if err := ability[zodb.Packer](t, dst).Pack(t.ctx, t.between(), zodb.PackOptions{}); err != nil {
		t.Fatalf("Pack of the copy: %v", err)
	}
	tid := t.undo(tids[1])
	if err := copyTo(t.ctx, dst, t.S, t.historyOf(t.S, tid, 0), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	rec, err := dst.LoadBefore(t.ctx, 1, zodb.MaxTID)
	if err != nil {
		t.Fatalf("LoadBefore in the copy: %v", err)
	}
	equal(t, "data in the copy", rec.Data, Object(1))
	equal(t, "Serial in the copy", rec.Serial, tid)
}

// Between vote and finish of a given tid nobody else may get a later one and be
// published first.
func testRestoreCommitsBeside(t *T) {
	first := t.put(1, 0, Object(1))
	txn := t.restoring(zodb.TxnMeta{TID: first + 1}, zodb.TxnRecord{OID: 1, Data: Object(2)})
	t.vote(txn)
	other := start(t, "commit beside a restore", func() (zodb.TID, error) {
		return commit(t.ctx, t.S, nil, write{2, 0, Object(3)})
	})
	other.settle() // it may wait, or come first or after
	equal(t, "tid of the restored transaction", t.finish(txn), first+1)
	if tid := other.ok(); tid <= first+1 {
		t.Errorf("commit beside a restore of %v got %v", first+1, tid)
	}
	t.current(1, first+1, Object(2))
	equal(t, "LastTID", t.S.LastTID(), other.v)
}
