package sqlstorage

import (
	"context"

	"github.com/zaridb/zari/blobs"
)

// sweepBlobs removes the files of blobs that belong to no row: what a history-free
// database has overwritten, and what transactions left that came to nothing. Files
// of transactions after the pack are left alone: they may be on their way.
func (p *packer) sweepBlobs(ctx context.Context) error {
	if p.blobs == nil {
		return nil
	}
	var some []blobs.ID
	for id, err := range p.blobs.dir.All() {
		if err != nil {
			return err
		}
		if int64(id.TID) > p.at || int64(id.TID) < 0 || int64(id.OID) < 0 {
			continue
		}
		if some = append(some, id); len(some) == MaxIn {
			if err := p.sweep(ctx, some); err != nil {
				return err
			}
			some = some[:0]
		}
	}
	return p.sweep(ctx, some)
}

// sweep removes those of the blobs that have no row.
func (p *packer) sweep(ctx context.Context, list []blobs.ID) error {
	if len(list) == 0 {
		return nil
	}
	stray := make(map[blobs.ID]bool, len(list))
	oids := make([]int64, len(list))
	for i, id := range list {
		stray[id] = true
		oids[i] = int64(id.OID)
	}
	cond, args := p.db.In("zoid", oids)
	err := p.db.Read(ctx, func(s Session) error {
		for row, err := range s.Query(ctx, `SELECT zoid, tid FROM object_state WHERE `+cond, args...) {
			if err != nil {
				return err
			}
			var r reference
			if err := row.Scan(&r.from, &r.tid); err != nil {
				return err
			}
			delete(stray, blobID(r.from, r.tid))
		}
		return nil
	})
	if err != nil {
		return err
	}
	gone := make([]blobs.ID, 0, len(stray))
	for id := range stray {
		gone = append(gone, id)
	}
	p.dropBlobs(gone)
	return nil
}
