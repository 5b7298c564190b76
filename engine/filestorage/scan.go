package filestorage

import (
	"context"
	"iter"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// scanWindow is how much Scan reads at a time.
const scanWindow = 1 << 18

// Scan reads the file from the place of a transaction in either direction. It
// shows what there is when it begins, and stays with that file if a pack replaces
// it. Transactions that were undone in place, in very old files, are left out.
func (s *Storage) Scan(ctx context.Context, from zodb.TID, dir store.Direction) iter.Seq2[*txnlog.Txn, error] {
	return s.scan(ctx, from, dir, false)
}

// ScanHeads is Scan without the records, which it does not read.
func (s *Storage) ScanHeads(ctx context.Context, from zodb.TID, dir store.Direction) iter.Seq2[*txnlog.Txn, error] {
	return s.scan(ctx, from, dir, true)
}

func (s *Storage) scan(ctx context.Context, from zodb.TID, dir store.Direction, heads bool) iter.Seq2[*txnlog.Txn, error] {
	return func(yield func(*txnlog.Txn, error) bool) {
		v, err := s.view()
		if err != nil {
			yield(nil, err)
			return
		}
		defer v.release()
		r := &txnReader{view: &v, storage: s, window: datafs.NewWindow(v.file, scanWindow), heads: heads}
		if s.blobs != nil {
			r.blobs = s.blobs.Finder() // what is in the view was placed before it was taken
		}
		if dir == store.Backward {
			err = r.backward(ctx, from, yield)
		} else {
			err = r.forward(ctx, from, yield)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// txnReader reads whole transactions.
type txnReader struct {
	*view
	storage *Storage
	window  *datafs.Window
	blobs   *blobs.Finder // nil if there are none
	heads   bool          // read no records
}

// forward yields transactions until yield says no. An error is returned and not
// yielded.
func (r *txnReader) forward(ctx context.Context, from zodb.TID, yield func(*txnlog.Txn, error) bool) error {
	pos, err := r.find(ctx, from)
	if err != nil {
		return err
	}
	sc := datafs.NewScanner(r.window, r.name, pos, r.end, 0)
	for sc.Txn() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if sc.Head.Status == datafs.Undone {
			continue
		}
		t, err := r.txn(sc)
		if err != nil {
			return err
		}
		if !yield(t, nil) {
			return nil
		}
	}
	return sc.Err()
}

func (r *txnReader) backward(ctx context.Context, from zodb.TID, yield func(*txnlog.Txn, error) bool) error {
	end := r.end
	if from < r.head {
		var err error
		if end, err = r.find(ctx, from+1); err != nil {
			return err
		}
	}
	for end > datafs.MagicSize {
		if err := ctx.Err(); err != nil {
			return err
		}
		pos, err := txnBefore(r.window, r.name, end)
		if err != nil {
			return err
		}
		if n := end - pos; n <= scanWindow {
			if _, err := r.window.AtBack(pos, int(n)); err != nil {
				return datafs.ReadError(r.name, "transaction", pos, err)
			}
		}
		sc := datafs.NewScanner(r.window, r.name, pos, end, 0)
		end = pos
		if !sc.Txn() {
			return sc.Err()
		}
		if sc.Head.Status == datafs.Undone {
			continue
		}
		t, err := r.txn(sc)
		if err != nil {
			return err
		}
		if !yield(t, nil) {
			return nil
		}
	}
	return nil
}

// find returns the position of the first transaction >= tid, or the end.
func (r *txnReader) find(ctx context.Context, tid zodb.TID) (int64, error) {
	if tid > r.head {
		return r.end, nil
	}
	pos, err := r.storage.start(r.view, tid)
	if err != nil {
		return 0, err
	}
	sc := datafs.NewScanner(r.window, r.name, pos, r.end, 0)
	var seen []mark
	for sc.Txn() {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if sc.Head.TID >= tid {
			if len(seen) > 4 {
				r.marks.merge(seen)
			}
			return sc.TxnPos, nil
		}
		if sc.TxnPos >= pos+markEvery {
			pos = sc.TxnPos
			seen = append(seen, mark{sc.TxnPos, sc.Head.TID})
		}
	}
	return r.end, sc.Err()
}

// txn reads the transaction that sc has come to.
func (r *txnReader) txn(sc *datafs.Scanner) (*txnlog.Txn, error) {
	h := &sc.Head
	text, err := r.window.Copy(sc.TxnPos+datafs.TxnHeaderSize, int(h.HeaderLen()-datafs.TxnHeaderSize))
	if err != nil {
		return nil, datafs.ReadError(r.name, "transaction header", sc.TxnPos, err)
	}
	desc := text[h.User:]
	t := &txnlog.Txn{
		TID: h.TID, Status: h.Status, Size: h.Len,
		User: text[:h.User:h.User], Description: desc[:h.Description:h.Description], Extension: desc[h.Description:],
	}
	if r.heads {
		return t, nil
	}
	for sc.Record() {
		rec, err := r.record(sc.Pos, &sc.Rec)
		if err != nil {
			return nil, err
		}
		t.Records = append(t.Records, rec)
	}
	return t, sc.Err()
}

// record reads the data of a record and the tids that its positions stand for.
func (r *txnReader) record(pos int64, h *datafs.DataHeader) (rec txnlog.Record, err error) {
	rec = txnlog.Record{OID: h.OID}
	if h.Prev != 0 {
		if rec.Prev, err = r.tidAt(h.Prev, h.OID); err != nil {
			return rec, err
		}
	}
	switch {
	case h.DataLen > 0:
		rec.Data, err = r.window.Copy(pos+datafs.DataHeaderSize, int(h.DataLen))
		if err != nil {
			return rec, datafs.ReadError(r.name, "data record", pos, err)
		}
	case h.Back > 0:
		if rec.Data, rec.From, err = r.back(pos, h); err != nil {
			return rec, err
		}
	}
	if rec.Data == nil {
		rec.Kind, rec.From = txnlog.Delete, 0
		return rec, nil
	}
	if r.blobs != nil {
		rec.Blob, err = r.blobs.Find(h.OID, h.TID)
	}
	return rec, err
}

// back reads the data that a back pointer leads to, and the tid of the record
// that it names.
func (v *view) back(pos int64, h *datafs.DataHeader) ([]byte, zodb.TID, error) {
	tid, err := v.tidAt(h.Back, h.OID)
	if err != nil {
		return nil, 0, err
	}
	buf := readBuffers.Get().(*[readAhead]byte)
	defer readBuffers.Put(buf)
	data, err := v.data(pos, h, buf[:], 0)
	return data, tid, err
}
