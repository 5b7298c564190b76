package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/zaridb/zari/zodb"
)

// SweepOptions say how garbage is deleted.
type SweepOptions struct {
	Batch int // objects of a transaction; 0: 100
	// Each, if set, is called with every object before it is deleted.
	Each func(*Garbage)
}

// Swept counts what became of the garbage of one database.
type Swept struct {
	Deleted int `json:"deleted"` // as they are now
	Kept    int `json:"kept"`    // that were put to use, or written, since they were looked at
	Revived int `json:"revived"` // that were deleted, and put to use at the same moment: they are back
}

// Sweep deletes the garbage of all databases. storages are where it is deleted, in
// the order of the databases; what was looked at may have been copies of them, of any
// age.
//
// Others may write meanwhile. An object that was written since it was looked at is
// kept: the storage compares serials. For one that somebody refers to again, the
// transactions since are read before each batch, and what they lead to is kept. A
// transaction may still come between that and the batch: so they are read again
// afterwards, and what was deleted wrongly is stored again. Nobody who holds such an
// object in a cache notices more than a conflict.
func (m *Marks) Sweep(ctx context.Context, storages []zodb.Storage, o SweepOptions) ([]Swept, error) {
	if o.Batch == 0 {
		o.Batch = 100
	}
	s := &sweeper{Marks: m, storages: storages, options: o, swept: make([]Swept, len(storages))}
	for i, st := range storages {
		if err := s.prepare(i, st); err != nil {
			return nil, fmt.Errorf("%s%w", m.dbs[i].prefix(), err)
		}
	}
	for i := range storages {
		if err := s.database(ctx, i); err != nil {
			return s.swept, fmt.Errorf("%s%w", m.dbs[i].prefix(), err)
		}
	}
	return s.swept, s.catchUp(ctx)
}

type sweeper struct {
	*Marks
	storages []zodb.Storage
	options  SweepOptions
	swept    []Swept
	seen     []zodb.TID // up to which transactions have been followed
	batch    []*Garbage
}

func (s *sweeper) prepare(i int, st zodb.Storage) error {
	if _, ok := zodb.As[zodb.Deleter](st); !ok {
		return errors.New("this storage cannot delete objects")
	}
	if _, ok := zodb.As[zodb.Iterator](st); !ok {
		return errors.New("this storage cannot list its transactions, and so cannot be watched while garbage is deleted")
	}
	last := s.sources[i].LastTID()
	if now := st.LastTID(); now < last {
		return fmt.Errorf("what was looked at goes on to transaction %v, and this ends at %v: it is no copy of it", last, now)
	}
	s.seen = append(s.seen, last)
	return nil
}

func (s *sweeper) database(ctx context.Context, db int) error {
	err := s.Each(ctx, db, func(g *Garbage) error {
		s.batch = append(s.batch, g)
		if len(s.batch) < s.options.Batch {
			return nil
		}
		return s.flush(ctx, db)
	})
	if err != nil {
		return err
	}
	return s.flush(ctx, db)
}

// flush deletes a batch.
func (s *sweeper) flush(ctx context.Context, db int) error {
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	kept := s.batch[:0]
	for _, g := range s.batch {
		if s.reached[db].has(g.oid) {
			s.swept[db].Kept++
			continue
		}
		kept = append(kept, g)
	}
	s.batch = kept
	for len(s.batch) > 0 {
		changed, err := s.commit(ctx, db)
		if err != nil {
			return err
		}
		if !changed {
			break
		}
	}
	s.batch = s.batch[:0]
	return s.catchUp(ctx)
}

// commit deletes what is in the batch. If one object has changed meanwhile, it takes
// that out and reports true: the rest is to be tried again.
func (s *sweeper) commit(ctx context.Context, db int) (changed bool, err error) {
	txn, err := s.storages[db].Begin(ctx, zodb.TxnMeta{Description: []byte("garbage collection: objects that no root leads to")})
	if err != nil {
		return false, err
	}
	defer txn.Abort()
	deleter, ok := zodb.As[zodb.DeleteTxn](txn)
	if !ok {
		return false, errors.New("this storage cannot delete objects")
	}
	for _, g := range s.batch {
		if err := deleter.Delete(ctx, g.oid, g.TID); err != nil {
			return false, err
		}
	}
	votes, err := txn.Vote(ctx)
	if conflict, ok := errors.AsType[*zodb.ConflictError](err); ok {
		return true, s.drop(db, conflict.OID, err)
	}
	if err == nil && len(votes.Conflicts) > 0 {
		return true, s.drop(db, votes.Conflicts[0].OID, errors.New("a conflict"))
	}
	if err != nil {
		return false, err
	}
	// Before Finish, so that whoever refers to them from now on revives them.
	for _, g := range s.batch {
		s.deleted[db].add(g.oid)
	}
	if _, err := txn.Finish(ctx, nil); err != nil {
		return false, err
	}
	for _, g := range s.batch {
		s.swept[db].Deleted++
		if s.options.Each != nil {
			s.options.Each(g)
		}
	}
	return false, nil
}

// drop takes an object out of the batch; why is an error if it is not in it.
func (s *sweeper) drop(db int, oid zodb.OID, why error) error {
	for i, g := range s.batch {
		if g.oid == oid {
			s.batch = append(s.batch[:i], s.batch[i+1:]...)
			s.swept[db].Kept++
			return nil
		}
	}
	return why
}

// catchUp follows the references of all transactions since the last time, and brings
// back what was deleted and is referred to.
func (s *sweeper) catchUp(ctx context.Context) error {
	var level []place
	for db, st := range s.storages {
		last := st.LastTID()
		if last <= s.seen[db] {
			continue
		}
		it, _ := zodb.As[zodb.Iterator](st)
		for t, err := range it.Transactions(ctx, s.seen[db]+1, last) {
			if err != nil {
				return err
			}
			for i := range t.Records {
				if level, err = s.written(db, t.TID, &t.Records[i], level); err != nil {
					return err
				}
			}
		}
		s.seen[db] = last
	}
	for len(level) > 0 {
		if err := s.spread(ctx, level); err != nil {
			return err
		}
		level, s.revive = s.revive, nil
		for _, at := range level {
			if err := s.bringBack(ctx, at); err != nil {
				return fmt.Errorf("object %s was deleted, and is referred to since; it could not be brought back: %w", s.dbs[at.db].label(at.oid), err)
			}
		}
	}
	return nil
}

// written reaches an object that was written, and what it refers to.
func (s *sweeper) written(db int, tid zodb.TID, r *zodb.TxnRecord, level []place) ([]place, error) {
	if r.Data == nil {
		return level, nil // a deletion, ours perhaps
	}
	at := place{db, r.OID}
	data, err := Plain(r.Data)
	if err != nil {
		return level, err
	}
	level = s.claim(at, level)
	level, err = s.follow(at, &Record{OID: r.OID, TID: tid, Data: data}, level)
	if err != nil {
		return level, fmt.Errorf("object %s: %w", s.dbs[db].label(r.OID), err)
	}
	return level, nil
}

// reviveRounds is how often an object is brought back until it is given up.
const reviveRounds = 10

// bringBack stores an object as it was before it was deleted.
func (s *sweeper) bringBack(ctx context.Context, at place) error {
	st := s.storages[at.db]
	for range reviveRounds {
		_, err := st.LoadBefore(ctx, at.oid, zodb.MaxTID)
		gone, ok := errors.AsType[*zodb.NoObjectError](err)
		if !ok {
			return err // or it is there: somebody wrote it
		}
		if gone.DeletedAt == 0 {
			return err
		}
		old, err := st.LoadBefore(ctx, at.oid, gone.DeletedAt)
		if err != nil {
			return err
		}
		err = store(ctx, st, at.oid, gone.DeletedAt, old.Serial, old.Data)
		if _, again := errors.AsType[*zodb.ConflictError](err); again {
			continue
		}
		if err == nil {
			s.swept[at.db].Revived++
			s.swept[at.db].Deleted--
		}
		return err
	}
	return errors.New("it is written all the time")
}

// store commits one object as it was at the revision from.
func store(ctx context.Context, st zodb.Storage, oid zodb.OID, serial, from zodb.TID, data []byte) error {
	txn, err := st.Begin(ctx, zodb.TxnMeta{Description: []byte("garbage collection: an object that is referred to again")})
	if err != nil {
		return err
	}
	defer txn.Abort()
	if plain, _ := Plain(data); isBlob(plain) {
		err = storeBlob(ctx, st, txn, oid, serial, from, data)
	} else {
		err = txn.Store(ctx, oid, serial, data)
	}
	if err != nil {
		return err
	}
	votes, err := txn.Vote(ctx)
	if err != nil {
		return err
	}
	if len(votes.Conflicts) > 0 {
		return &zodb.ConflictError{OID: oid, Committed: votes.Conflicts[0].Committed, Read: serial}
	}
	_, err = txn.Finish(ctx, nil)
	return err
}

// storeBlob is Store of a blob whose file is a copy of an earlier revision's.
func storeBlob(ctx context.Context, st zodb.Storage, txn zodb.Txn, oid zodb.OID, serial, from zodb.TID, data []byte) error {
	blobs, ok1 := zodb.As[zodb.BlobStore](st)
	blobTxn, ok2 := zodb.As[zodb.BlobTxn](txn)
	if !ok1 || !ok2 {
		return txn.Store(ctx, oid, serial, data)
	}
	path, err := blobs.LoadBlob(ctx, oid, from)
	if err != nil {
		return err
	}
	dir, err := blobs.BlobTempDir()
	if err != nil {
		return err
	}
	name, err := copyFile(path, dir)
	if err != nil {
		return err
	}
	return blobTxn.StoreBlob(ctx, oid, serial, data, name)
}

// copyFile copies a file into a folder, and returns the name of the copy.
func copyFile(path, dir string) (name string, err error) {
	from, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.CreateTemp(dir, "gc-")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		os.Remove(to.Name())
		return "", err
	}
	return to.Name(), nil
}
