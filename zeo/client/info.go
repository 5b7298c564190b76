package client

import (
	"context"
	"fmt"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// serverInfo is what get_info says of the storage.
type serverInfo struct {
	name       string
	undo       bool
	records    bool            // record_iternext
	interfaces map[string]bool // of ZODB.interfaces
	tokens     bool            // the server is Zari: it takes tokens, and tells what became of them
	blobs      bool            // likewise: it restores blobs
}

// getInfo asks what the storage is and can.
func getInfo(ctx context.Context, c *conn) (info serverInfo, length, size int64, err error) {
	err = c.call(ctx, "get_info", func(m *wire.Message) error {
		v, err := m.Value(0)
		if err != nil {
			return err
		}
		d, ok := v.(*pickle.Dict)
		if !ok {
			return fmt.Errorf("not a dict: %.50T", v)
		}
		length, size = sizes(d)
		info.name = textOf(d, "name")
		info.undo = isTrue(d, "supportsUndo")
		info.records = isTrue(d, "supports_record_iternext")
		info.tokens = isTrue(d, "zari_tokens")
		info.blobs = isTrue(d, "zari_restore_blobs")
		info.interfaces = interfacesOf(d)
		return nil
	})
	return info, length, size, err
}

func sizes(d *pickle.Dict) (length, size int64) {
	l, _ := d.Get("length")
	s, _ := d.Get("size")
	length, _ = l.(int64)
	size, _ = s.(int64)
	return length, size
}

func textOf(d *pickle.Dict, key string) string {
	v, _ := d.Get(key)
	s, _ := pickle.Text(v)
	return s
}

func bytesOf(d *pickle.Dict, key string) []byte {
	v, _ := d.Get(key)
	if s, ok := pickle.Text(v); ok {
		return []byte(s)
	}
	b, _ := pickle.Bytes(v)
	return b
}

func isTrue(d *pickle.Dict, key string) bool {
	v, _ := d.Get(key)
	t, _ := v.(bool)
	return t
}

// interfacesOf reads the pairs of module and name.
func interfacesOf(d *pickle.Dict) map[string]bool {
	all := make(map[string]bool)
	v, _ := d.Get("interfaces")
	items, ok := v.(pickle.Tuple)
	if l, isList := v.(*pickle.List); isList {
		items, ok = l.Items, true
	}
	for _, item := range items {
		pair, isPair := item.(pickle.Tuple)
		if !ok || !isPair || len(pair) != 2 {
			continue
		}
		module, _ := pickle.Text(pair[0])
		name, _ := pickle.Text(pair[1])
		if module == "ZODB.interfaces" {
			all[name] = true
		}
	}
	return all
}

// can is what the server's storage is able to do.
func (s *Storage) can() serverInfo {
	if info := s.info.Load(); info != nil {
		return *info
	}
	return serverInfo{}
}

func (s *Storage) hasBlobs() bool { return s.blobs != nil && s.can().interfaces["IBlobStorage"] }

// As implements zodb.Asser: what the server's storage has and the protocol can
// carry. Before the first connection that is not known, and nothing is there but
// what every storage has.
func (s *Storage) As(target any) bool {
	can := s.can()
	switch target.(type) {
	case *zodb.Watcher:
		return zodb.SetAs[zodb.Watcher](target, s)
	case *zodb.Syncer:
		return zodb.SetAs[zodb.Syncer](target, s)
	case *zodb.Historian:
		return zodb.SetAs[zodb.Historian](target, s)
	case *zodb.Recaller:
		return zodb.SetAs[zodb.Recaller](target, s)
	case *zodb.Packer:
		return zodb.SetAs[zodb.Packer](target, s)
	case *zodb.Iterator:
		return can.interfaces["IStorageIteration"] && zodb.SetAs[zodb.Iterator](target, s)
	case *zodb.RecordIterator:
		return can.records && zodb.SetAs[zodb.RecordIterator](target, s)
	case *zodb.Undoer:
		return can.undo && zodb.SetAs[zodb.Undoer](target, s)
	case *zodb.BlobStore:
		return s.hasBlobs() && zodb.SetAs[zodb.BlobStore](target, s)
	case *zodb.Restorer:
		return can.interfaces["IStorageRestoreable"] && zodb.SetAs[zodb.Restorer](target, s)
	case *zodb.Deleter:
		return can.interfaces["IExternalGC"] && zodb.SetAs[zodb.Deleter](target, s)
	case *zodb.Outcomer:
		return can.tokens && zodb.SetAs[zodb.Outcomer](target, s)
	}
	return false
}

// CanRestore implements zodb.Restorer.
func (s *Storage) CanRestore() {}

// CanDelete implements zodb.Deleter.
func (s *Storage) CanDelete() {}
