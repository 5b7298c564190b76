package sqlstorage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

var _ store.Packer = (*Engine)(nil)

// Pack implements store.Packer as RelStorage's pack does it.
//
// History-preserving: of each object the newest revision <= at and all later ones are
// kept, and an object whose last revision, at or before at, has no data goes
// altogether. With garbage collection so do objects that cannot be reached: from the
// root, from any revision after at, nor from an object that has one. The
// transactions up to at are flagged as packed; those that nothing is left of are
// removed.
//
// History-free: there is nothing to pack but deleted objects and garbage.
//
// What refers to what is kept in object_ref from one pack to the next, as RelStorage
// keeps it, so a pack that was interrupted goes on where it was. Removing is done in
// short transactions, each of which first looks at what was committed since the last
// one: an object that has been linked again is not garbage.
func (e *Engine) Pack(ctx context.Context, at zodb.TID, opts zodb.PackOptions) error {
	if opts.DryRun {
		return fmt.Errorf("a dry run of a pack in a SQL database: %w", errors.ErrUnsupported)
	}
	gc := (opts.GC || e.opts.PackGC && !opts.NoGC) && !opts.Overlay
	if gc && e.opts.References == nil {
		return fmt.Errorf("garbage collection needs to know what refers to what: %w", errors.ErrUnsupported)
	}
	lock, err := e.db.PackLock(ctx)
	if errors.Is(err, ErrBusy) {
		return fmt.Errorf("%s: somebody else packs this database, or undoes a transaction, now: %w", e.db.Name(), err)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	p := &packer{Engine: e, opts: opts, gc: gc, at: int64(at), report: opts.Report}
	if p.report == nil {
		p.report = new(zodb.PackReport)
	}
	p.report.ObjectsBefore, p.report.BytesBefore = e.Stat()
	err = p.run(ctx)
	err = errors.Join(err, e.measure(context.WithoutCancel(ctx)))
	p.report.ObjectsAfter, p.report.BytesAfter = e.Stat()
	p.report.Unchanged = err == nil && p.report.Revisions == 0
	return err
}

// packer is one pack.
type packer struct {
	*Engine
	opts   zodb.PackOptions
	gc     bool
	at     int64 // the last tid that is packed
	report *zodb.PackReport

	marks graph
	seen  int64 // the marks know what was committed up to this tid

	done, total int64
}

func (p *packer) run(ctx context.Context) error {
	if err := p.choose(ctx); err != nil || p.at == 0 {
		return err
	}
	if p.gc {
		if err := p.fillReferences(ctx); err != nil {
			return err
		}
		if err := p.mark(ctx); err != nil {
			return err
		}
	}
	remove := p.removeRevisions
	if p.form == Free {
		remove = p.removeObjects
	}
	if err := remove(ctx); err != nil {
		return err
	}
	return p.sweepBlobs(ctx)
}

// choose finds the last transaction to be packed, 0 if there is none.
func (p *packer) choose(ctx context.Context) error {
	return p.db.Read(ctx, func(s Session) error {
		statement, count := `SELECT MAX(tid) FROM "transaction" WHERE tid <= ?`, `SELECT COUNT(*) FROM "transaction" WHERE tid > 0 AND tid <= ?`
		if p.form == Free {
			// Whatever is not newer may be garbage, and what is deleted may be dropped.
			statement, count = `SELECT MAX(tid) FROM object_state WHERE tid <= ?`, `SELECT COUNT(*) FROM object_state WHERE tid <= ?`
		}
		last, err := number(ctx, s, statement, p.at)
		if err != nil {
			return err
		}
		p.at = last
		p.total, err = number(ctx, s, count, p.at)
		return err
	})
}

// locked runs fn in a transaction that keeps all commits away.
func (p *packer) locked(ctx context.Context, fn func(Session) error) error {
	if s, ok := p.db.(Sharer); ok {
		return s.WithCommitLock(ctx, fn)
	}
	return p.db.Write(ctx, fn)
}

// progress tells of work that was done, and lets others come to their turn.
func (p *packer) progress(ctx context.Context, n, bytes int64) error {
	p.done += n
	if p.opts.Progress != nil {
		p.opts.Progress(min(p.done, p.total), p.total)
	}
	if p.opts.Rate <= 0 || bytes <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(time.Duration(float64(bytes) / float64(p.opts.Rate) * float64(time.Second))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dropBlobs removes files of blobs whose rows are gone. (Blobs that are rows have gone
// with the row of their revision.)
func (p *packer) dropBlobs(gone []blobs.ID) {
	if p.blobs == nil {
		return
	}
	finder := p.blobs.dir.Finder()
	for _, id := range gone {
		if path, err := finder.Find(id.OID, id.TID); err == nil && path == "" {
			continue
		}
		if p.blobs.rows {
			p.blobs.cache.remove(id)
		} else if err := p.blobs.dir.Remove(id.OID, id.TID); err != nil {
			p.Engine.opts.Logger.Warn("a blob of a packed revision stays", "oid", id.OID, "tid", id.TID, "err", err)
			continue
		}
		p.report.Blobs++
	}
}
