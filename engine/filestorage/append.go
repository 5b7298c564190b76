package filestorage

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// plan is a batch with the places where it will be.
type plan struct {
	txns    []plannedTxn
	records []plannedRecord // of all transactions
	begin   int64
	end     int64
	head    zodb.TID
}

type plannedTxn struct {
	*txnlog.Txn
	pos int64
	len int64 // without the trailer
}

// plannedRecord is a record's place, and what it points to.
type plannedRecord struct {
	oid        zodb.OID
	pos        int64
	prev, back int64
	dataLen    int64

	tid     zodb.TID
	record  *txnlog.Record
	earlier int // the number of the object's record before it in the plan, -1 if there is none
}

// Append writes the batch at the end of the file. It costs two syncs;
// [Storage.Stream] makes many share them.
//
// A transaction that this format cannot hold is refused, and so are those after
// it.
func (s *Storage) Append(_ context.Context, batch []*txnlog.Txn, meta *store.Meta) (n int, err error) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if err := s.writable(); err != nil {
		return 0, err
	}
	if meta != nil {
		if err := s.writeMeta(*meta); err != nil {
			return 0, err
		}
	}
	once := func() []*txnlog.Txn {
		b := batch
		batch = nil
		return b
	}
	s.stream(once, func(durable int, e error) { n, err = durable, e })
	return n, err
}

// writable tells why nothing can be written. writeMu is held.
func (s *Storage) writable() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.gen == nil:
		return zodb.ErrClosed
	case s.opts.ReadOnly:
		return zodb.ErrReadOnly
	case s.broken != nil:
		return s.broken
	case s.doubt != nil:
		return errors.New("the last append to the data file failed and has to be settled first")
	}
	return nil
}

// fit returns how many transactions, from the first, can be written after last, and why
// no more.
func fit(batch []*txnlog.Txn, last zodb.TID) (int, error) {
	for i, t := range batch {
		if err := checkTxn(t, last); err != nil {
			return i, fmt.Errorf("transaction %v: %w", t.TID, err)
		}
		last = t.TID
	}
	return len(batch), nil
}

func checkTxn(t *txnlog.Txn, last zodb.TID) error {
	if t.TID <= last {
		return fmt.Errorf("it cannot follow transaction %v", last)
	}
	return checkContents(t)
}

// Check implements store.Checker.
func (s *Storage) Check(t *txnlog.Txn) error { return checkContents(t) }

// checkContents reports what a Data.fs cannot hold.
func checkContents(t *txnlog.Txn) error {
	for _, text := range []struct {
		name string
		len  int
	}{{"user", len(t.User)}, {"description", len(t.Description)}, {"extension", len(t.Extension)}} {
		if text.len > datafs.MaxText {
			return fmt.Errorf("its %s has %d bytes; a Data.fs holds at most %d", text.name, text.len, datafs.MaxText)
		}
	}
	if t.Status != datafs.Done && t.Status != datafs.Packed {
		return fmt.Errorf("its status is %q", t.Status)
	}
	for i := range t.Records {
		r := &t.Records[i]
		if r.Kind == txnlog.Data && r.Len() == 0 {
			return fmt.Errorf("object %v: a Data.fs cannot hold a record without data", r.OID)
		}
	}
	return nil
}

// plan lays the batch out from begin. It reads the file where records say that they repeat
// earlier ones.
func (s *Storage) plan(v *view, batch []*txnlog.Txn, begin int64) (*plan, error) {
	p := &plan{begin: begin, head: batch[len(batch)-1].TID, txns: make([]plannedTxn, 0, len(batch))}
	n := 0
	for _, t := range batch {
		n += len(t.Records)
	}
	p.records = make([]plannedRecord, 0, n)
	if len(s.planned) > 1<<12 {
		s.planned = make(map[zodb.OID]int) // to clear a large one takes long ever after
	}
	clear(s.planned)
	pos := begin
	for _, t := range batch {
		begin := pos
		pos += int64(datafs.TxnHeaderSize + len(t.User) + len(t.Description) + len(t.Extension))
		for i := range t.Records {
			r := plannedRecord{oid: t.Records[i].OID, tid: t.TID, pos: pos, record: &t.Records[i], earlier: -1}
			if err := s.planRecord(v, p, &r); err != nil {
				return nil, err
			}
			s.planned[r.oid] = len(p.records)
			p.records = append(p.records, r)
			pos += datafs.DataHeader{DataLen: r.dataLen}.Len()
		}
		p.txns = append(p.txns, plannedTxn{Txn: t, pos: begin, len: pos - begin})
		pos += datafs.TrailerSize
	}
	p.end = pos
	return p, nil
}

// planRecord finds out what the record points to, and so how long it is.
func (s *Storage) planRecord(v *view, p *plan, r *plannedRecord) error {
	committed := v.index.get(r.oid) // only holders of writeMu change it
	r.prev = committed
	if i, ok := s.planned[r.oid]; ok {
		r.earlier, r.prev = i, p.records[i].pos
	}
	if r.record.Kind == txnlog.Delete {
		return nil
	}
	if r.record.From != 0 {
		var err error
		if r.back, err = p.sameData(r); err == nil && r.back == 0 {
			r.back, err = v.sameData(committed, r.record)
		}
		if err != nil {
			return err
		}
	}
	if r.back == 0 {
		r.dataLen = int64(r.record.Len())
	}
	return nil
}

// sameData returns the position of the record in the plan that r says it repeats,
// if it is there and its data are those of r, else 0.
func (p *plan) sameData(r *plannedRecord) (int64, error) {
	i := r.earlier
	for i >= 0 && p.records[i].tid > r.record.From {
		i = p.records[i].earlier
	}
	if i < 0 || p.records[i].tid != r.record.From || p.records[i].record.Kind == txnlog.Delete {
		return 0, nil
	}
	theirs, err := p.records[i].record.Load()
	if err != nil {
		return 0, err
	}
	ours, err := r.record.Load()
	if err != nil || !bytes.Equal(theirs, ours) {
		return 0, err
	}
	return p.records[i].pos, nil
}

// sameData returns the position of the record that r.From wrote, if it is there
// and its data are those of r, else 0. It looks back from pos.
func (v *view) sameData(pos int64, r *txnlog.Record) (int64, error) {
	buf := readBuffers.Get().(*[readAhead]byte)
	defer readBuffers.Put(buf)
	for pos != 0 {
		h, n, err := v.read(pos, r.OID, buf[:])
		if err != nil {
			return 0, err
		}
		if h.TID == r.From {
			return v.ifSame(pos, &h, buf[:], n, r)
		}
		if h.TID < r.From || h.Prev >= pos {
			return 0, nil
		}
		pos = h.Prev
	}
	return 0, nil
}

func (v *view) ifSame(pos int64, h *datafs.DataHeader, buf []byte, n int, r *txnlog.Record) (int64, error) {
	if h.DataLen != 0 && h.DataLen != int64(r.Len()) {
		return 0, nil
	}
	theirs, err := v.data(pos, h, buf, n)
	if err != nil {
		return 0, err
	}
	ours, err := r.Load()
	if err != nil {
		return 0, err
	}
	if theirs == nil || !bytes.Equal(theirs, ours) {
		return 0, nil
	}
	return pos, nil
}

// publish makes a durable batch visible.
func (s *Storage) publish(p *plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range p.records {
		s.gen.index.set(r.oid, r.pos)
		s.gen.tids.put(r.pos, r.tid)
	}
	for _, t := range p.txns {
		s.gen.marks.add(t.pos, t.TID)
	}
	s.gen.end, s.gen.head = p.end, p.head
}

// placeBlobs moves the staged blobs into place, and returns which. With an error
// some of them may be there.
func (s *Storage) placeBlobs(batch []*txnlog.Txn) (placed []blobID, err error) {
	var staged []blobs.Staged
	for _, t := range batch {
		for i := range t.Records {
			r := &t.Records[i]
			if r.Blob == "" {
				continue
			}
			if s.blobs == nil {
				return nil, fmt.Errorf("object %v: %w", r.OID, errNoBlobs)
			}
			id := blobID{OID: r.OID, TID: t.TID}
			placed = append(placed, id)
			staged = append(staged, blobs.Staged{Path: r.Blob, ID: id})
		}
	}
	if len(staged) == 0 {
		return nil, nil
	}
	return placed, noSpace(s.blobs.PlaceAll(staged))
}

// removeBlobs removes blobs of transactions that came to nothing. What cannot be
// removed is waste and does no harm.
func (s *Storage) removeBlobs(placed []blobID) {
	for _, id := range placed {
		if err := s.blobs.Remove(id.OID, id.TID); err != nil {
			s.opts.Logger.Warn("a blob of a failed transaction could not be removed", "path", s.blobs.Path(id.OID, id.TID), "error", err)
		}
	}
}
