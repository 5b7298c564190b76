package crashtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// objects is how many objects the clients quarrel about, besides those they make.
const objects = 10

// client does transactions one after the other.
type client struct {
	name   string
	rng    *rand.Rand
	store  *store.Store
	fs     vfs.FS // for staged blobs
	ledger *ledger
	sched  *sched
	own    []zodb.OID // that NewOIDs gave it
	mine   []zodb.TID // that it committed
}

func (c *client) run(ctx context.Context, txns int) {
	for i := range txns {
		c.turn()
		if ctx.Err() != nil {
			return
		}
		if c.rng.IntN(5) == 0 && c.sched.idle("append", func() { c.takeOIDs(ctx) }) {
			continue
		}
		c.transaction(ctx, fmt.Sprintf("%s.%d", c.name, i))
	}
}

func (c *client) turn() { c.sched.park(c.name) }

func (c *client) takeOIDs(ctx context.Context) {
	oids, err := c.store.NewOIDs(ctx, 1+c.rng.IntN(4))
	if err != nil {
		return
	}
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	for _, oid := range oids {
		if c.ledger.handed[oid] {
			panic(fmt.Sprintf("oid %v is handed out twice", oid)) // no crash is needed to see it
		}
		c.ledger.handed[oid] = true
	}
	c.own = append(c.own, oids...)
}

// transaction does one transaction, and notes what came of it.
func (c *client) transaction(ctx context.Context, label string) {
	meta := zodb.TxnMeta{User: []byte(label), Description: content(label, 0, c.rng.IntN(200))}
	copy(meta.Token[:], label)
	if c.rng.IntN(3) == 0 {
		meta.Extension = []byte("}U\x01kI1\ns.") // the pickle of {'k': 1}
	}
	txn, err := c.store.Begin(ctx, meta)
	if err != nil {
		c.ledger.finished(label, meta.Token, 0, err)
		return
	}
	defer txn.Abort()
	tid, err := c.commit(ctx, txn, label)
	c.ledger.finished(label, meta.Token, tid, err)
	if err == nil {
		c.mine = append(c.mine, tid)
	}
}

var errGaveUp = errors.New("the client gave up")

func (c *client) commit(ctx context.Context, txn zodb.Txn, label string) (zodb.TID, error) {
	if err := c.fill(ctx, txn, label); err != nil {
		return 0, err
	}
	c.turn()
	votes, err := txn.Vote(ctx)
	switch {
	case err != nil:
		return 0, err
	case len(votes.Conflicts) > 0 && c.rng.IntN(2) == 0:
		if err := c.merge(ctx, txn, label, votes.Conflicts); err != nil {
			return 0, err
		}
	case len(votes.Conflicts) > 0:
		return 0, errGaveUp
	}
	c.turn()
	if c.rng.IntN(12) == 0 {
		return 0, errGaveUp
	}
	return txn.Finish(ctx, nil)
}

// merge stores conflicting objects again, as a client does that has merged them.
func (c *client) merge(ctx context.Context, txn zodb.Txn, label string, conflicts []zodb.Conflict) error {
	for _, x := range conflicts {
		if err := txn.Store(ctx, x.OID, x.Committed, content(label+" merged", x.OID, c.size())); err != nil {
			return err
		}
	}
	votes, err := txn.Vote(ctx)
	if err == nil && len(votes.Conflicts) > 0 {
		return errGaveUp
	}
	return err
}

// fill does what the transaction consists of.
func (c *client) fill(ctx context.Context, txn zodb.Txn, label string) error {
	if undo, ok := zodb.As[zodb.UndoTxn](txn); ok && len(c.mine) > 0 && c.rng.IntN(6) == 0 {
		return undo.Undo(ctx, c.mine[len(c.mine)-1-c.rng.IntN(min(3, len(c.mine)))])
	}
	for _, oid := range c.choose() {
		serial, err := c.serial(ctx, oid)
		if err != nil {
			return err
		}
		if err := c.write(ctx, txn, label, oid, serial); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) write(ctx context.Context, txn zodb.Txn, label string, oid zodb.OID, serial zodb.TID) error {
	switch data := content(label, oid, c.size()); c.rng.IntN(10) {
	case 0:
		if serial == 0 {
			return txn.Store(ctx, oid, serial, data)
		}
		return mustAs[zodb.DeleteTxn](txn).Delete(ctx, oid, serial)
	case 1:
		path, err := c.stageBlob(label, oid)
		if err != nil {
			return err
		}
		return mustAs[zodb.BlobTxn](txn).StoreBlob(ctx, oid, serial, data, path)
	default:
		return txn.Store(ctx, oid, serial, data)
	}
}

func mustAs[T any](v any) T {
	t, ok := zodb.As[T](v)
	if !ok {
		panic(fmt.Sprintf("a transaction is no %T", t))
	}
	return t
}

// choose picks up to four objects, new ones among them.
func (c *client) choose() []zodb.OID {
	var oids []zodb.OID
	for range 1 + c.rng.IntN(4) {
		if len(c.own) > 0 && c.rng.IntN(3) == 0 {
			oids = append(oids, c.own[c.rng.IntN(len(c.own))])
		} else {
			oids = append(oids, zodb.OID(c.rng.IntN(objects)))
		}
	}
	slices.Sort(oids)
	return slices.Compact(oids)
}

// size is small mostly, and more than the engine writes at once now and then.
func (c *client) size() int {
	switch c.rng.IntN(12) {
	case 0:
		return 1
	case 1, 2, 3:
		return c.rng.IntN(4000)
	case 4:
		return c.rng.IntN(30000)
	}
	return c.rng.IntN(300)
}

// serial returns the object's current serial, 0 if there is no such object.
func (c *client) serial(ctx context.Context, oid zodb.OID) (zodb.TID, error) {
	rec, err := c.store.LoadBefore(ctx, oid, zodb.MaxTID)
	if no, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		return no.DeletedAt, nil
	}
	return rec.Serial, err
}

func blobContent(label string, oid zodb.OID) []byte { return content("blob of "+label, oid, 1500) }

func (c *client) stageBlob(label string, oid zodb.OID) (string, error) {
	dir, err := c.store.BlobTempDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, fmt.Sprintf("%s-%v", label, oid))
	f, err := c.fs.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(blobContent(label, oid))
	return path, errors.Join(err, f.Close())
}

// packer packs now and then.
type packer struct {
	name   string
	rng    *rand.Rand
	store  *store.Store
	ledger *ledger
	sched  *sched
}

func (p *packer) run(ctx context.Context, packs int) {
	pack, ok := zodb.As[zodb.Packer](p.store)
	if !ok {
		return
	}
	for range packs {
		for range p.rng.IntN(25) {
			p.sched.park(p.name)
		}
		if ctx.Err() != nil {
			return
		}
		at := p.time()
		p.ledger.mu.Lock()
		p.ledger.packs = append(p.ledger.packs, zodb.TIDAt(at))
		p.ledger.mu.Unlock()
		// An error is as good as a success here: nothing may be lost either way.
		_ = pack.Pack(ctx, at, zodb.PackOptions{KeepOld: p.rng.IntN(2) == 0})
	}
}

// time returns the time of one of the newer transactions.
func (p *packer) time() time.Time {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	if n := len(p.ledger.entries); n > 0 {
		return p.ledger.entries[n-1-p.rng.IntN(min(n, 10))].TID.Time()
	}
	return time.Now()
}
