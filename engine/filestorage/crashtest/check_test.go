package crashtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// inspect opens copies of what a power cut left, and checks everything that must
// hold of it.
func (r *round) inspect(ctx context.Context, left *vfs.MemFS) error {
	with, without := clone(left), clone(left)
	if err := without.Remove(dataFile + ".index"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	first, err := r.reopen(ctx, with)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	again, err := r.reopen(ctx, with)
	if err != nil {
		return fmt.Errorf("opening a second time: %w", err)
	}
	if again != first {
		return fmt.Errorf("the second opening shows\n%s\nand the first\n%s", again, first)
	}
	rebuilt, err := r.reopen(ctx, without)
	if err != nil {
		return fmt.Errorf("opening without the index file: %w", err)
	}
	if rebuilt != first {
		return fmt.Errorf("the index that is built anew shows\n%s\nand the saved one\n%s", rebuilt, first)
	}
	r.last = clone(with)
	if err := parse(with, dataFile); err != nil {
		return fmt.Errorf("Data.fs is not well-formed: %w", err)
	}
	return r.useAgain(ctx, with)
}

// clone copies a file system.
func clone(m *vfs.MemFS) *vfs.MemFS { return vfs.Crash(m, vfs.Worst, 0).CrashClone(0) }

// reopen opens and closes the engine alone, and describes what it shows.
func (r *round) reopen(ctx context.Context, fsys vfs.FS) (string, error) {
	engine, err := filestorage.Open(r.options(fsys))
	if err != nil {
		return "", err
	}
	var s string
	if _, err = r.compare(ctx, engine, fsys); err == nil {
		s, err = describe(ctx, engine)
	}
	return s, errors.Join(err, engine.Close())
}

// describe tells what the index says: of every object the newest record, and the
// data of those that have any.
func describe(ctx context.Context, e store.Engine) (string, error) {
	var b bytes.Buffer
	head, oid := e.Head()
	objects, size := e.Stat()
	fmt.Fprintln(&b, "head", head, oid, "objects", objects, "bytes", size)
	oids := make([]zodb.OID, oid+1)
	for i := range oids {
		oids[i] = zodb.OID(i)
	}
	serials, err := e.Serials(ctx, oids)
	if err != nil {
		return "", err
	}
	for i, serial := range serials {
		if serial != 0 {
			fmt.Fprintln(&b, oids[i], serial)
		}
	}
	for c, err := range e.Current(ctx, zodb.MaxTID, 0, 1<<63) {
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&b, c.OID, c.Serial, len(c.Data))
	}
	return b.String(), nil
}

// useAgain makes a store of what is left, and commits to it.
func (r *round) useAgain(ctx context.Context, fsys vfs.FS) error {
	engine, err := filestorage.Open(r.options(fsys))
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, engine, store.Options{})
	if err != nil {
		return err
	}
	err = r.use(ctx, s, engine)
	return errors.Join(err, s.Close())
}

func (r *round) use(ctx context.Context, s *store.Store, e store.Engine) error {
	if err := r.ledger.sameUUID(s.Info().UUID); err != nil {
		return err
	}
	oids, err := s.NewOIDs(ctx, 20)
	if err != nil {
		return err
	}
	serials, err := e.Serials(ctx, oids)
	if err != nil {
		return err
	}
	for i, oid := range oids {
		if r.ledger.handed[oid] || serials[i] != 0 {
			return fmt.Errorf("oid %v is handed out again (its newest record is %v)", oid, serials[i])
		}
	}
	txn, err := s.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		return err
	}
	defer txn.Abort()
	if err := txn.Store(ctx, oids[0], 0, []byte("new")); err != nil {
		return err
	}
	if _, err := txn.Vote(ctx); err != nil {
		return err
	}
	tid, err := txn.Finish(ctx, nil)
	if err != nil {
		return err
	}
	rec, err := s.LoadBefore(ctx, oids[0], zodb.MaxTID)
	if err != nil || rec.Serial != tid || string(rec.Data) != "new" {
		return fmt.Errorf("a new object is not what was committed: %v %v", rec, err)
	}
	return nil
}

// count adds up what the round has seen.
func (r *round) count() {
	l := r.ledger
	r.stats.acked = len(l.acked)
	r.stats.doubted = len(l.doubted)
	r.stats.refused = len(l.refused)
	r.stats.packs = len(l.packs)
	for _, e := range l.entries {
		if _, acked := l.acked[e.label]; !acked && e.fate == kept {
			r.stats.revived++
		}
		for i := range e.Records {
			if e.Records[i].From != 0 {
				r.stats.undone++
			}
			if e.Records[i].Blob != "" {
				r.stats.blobs++
			}
		}
	}
}
