package s3storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/blockcache"
)

// Records are read in blocks: who reads one finds its neighbours in the cache afterwards, which
// were written in the same transaction or soon after. Block n of an object begins n times
// blockLen behind the first transaction, and reaches a little into the next one, so that one
// request brings a record whole that begins in it. The few that are longer than that are read by
// themselves.
const (
	blockLen     = 64 << 10
	blockOverlap = 8 << 10
)

// blockOf returns the block that n bytes at off are read with.
func blockOf(p *place, off, n int64) objstore.Range {
	start := off - (off-p.body)%blockLen
	end := min(start+blockLen+blockOverlap, p.table)
	if off+n > end {
		return objstore.Range{Off: off, Len: n}
	}
	return objstore.Range{Off: start, Len: end - start}
}

// openBlocks opens the cache of blocks. Where nothing is done by itself there is none.
func (e *Engine) openBlocks() (err error) {
	if e.opts.Manual {
		return nil
	}
	e.blocks, err = blockcache.Open(blockReader{e}, blockcache.Options{
		Dir: e.opts.CacheDir, MaxBytes: e.opts.CacheBytes, Memory: e.opts.CacheMemory, Space: e.st.database.String(),
	})
	if err == nil {
		e.opts.Page.Add(e.blocks)
	}
	return err
}

func (e *Engine) closeReading() error {
	var errs []error
	if e.blocks != nil {
		errs = append(errs, e.blocks.Close())
	}
	if e.hedger != nil {
		errs = append(errs, e.hedger.Close())
	}
	return errors.Join(errs...)
}

// blockReader reads for the cache of blocks.
type blockReader struct{ *Engine }

// Read implements objstore.Reader. The key is that of a place in the cache.
func (r blockReader) Read(ctx context.Context, cached string, part objstore.Range) ([]byte, objstore.Info, error) {
	key, _, _ := strings.Cut(cached, "@")
	data, err := r.read(ctx, key, part)
	return data, objstore.Info{}, err
}

// cacheKey names a place in the cache. A slot of the log is written once, but a bucket may be
// restored to what it was and go on from there: then another object has the slot, and the cache
// has survived. It has other tids.
func (p *place) cacheKey() string {
	if p.Slot == 0 {
		return p.Key()
	}
	return fmt.Sprintf("%s@%d-%d-%d", p.Key(), p.first, p.last, p.size)
}

// part returns n bytes at off of a place, or fewer at its end: from memory, from the cache, or by
// one GET.
func (e *Engine) part(ctx context.Context, p *place, off, n int64) ([]byte, error) {
	switch {
	case p.data != nil:
		return bytes.Clone(p.data[off : off+n]), nil // who retains it must not retain the object
	case e.blocks == nil:
		return e.read(ctx, p.Key(), objstore.Range{Off: off, Len: n})
	}
	block := blockOf(p, off, n)
	return e.blocks.ReadPart(ctx, p.cached, block, off-block.Off, n)
}

// partAtHand is part, if it takes no request.
func (e *Engine) partAtHand(p *place, off, n int64) ([]byte, bool) {
	switch {
	case p.data != nil:
		return bytes.Clone(p.data[off : off+n]), true
	case e.blocks == nil:
		return nil, false
	}
	block := blockOf(p, off, n)
	return e.blocks.Recall(p.cached, block, off-block.Off, n)
}

// keepBlocks puts a segment into the cache that was just written, and whose transactions were
// in memory until now: they are the newest.
func (e *Engine) keepBlocks(info *layout.Segment, object []byte) {
	if e.blocks == nil {
		return
	}
	p := segmentPlace(info)
	key := p.cacheKey()
	for off := p.body; off < p.table; off += blockLen {
		block := blockOf(p, off, 0)
		e.blocks.Add(key, block, bytes.Clone(object[block.Off:block.Off+block.Len]))
	}
}
