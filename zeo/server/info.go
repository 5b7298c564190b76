package server

import (
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// getInfo describes the storage. Clients take from it what they may call.
func getInfo(x *session, m *wire.Message) (any, error) {
	s := x.hub.storage
	info := s.Info()
	_, undo := zodb.As[zodb.Undoer](s)
	_, records := zodb.As[zodb.RecordIterator](s)
	_, outcomes := zodb.As[zodb.Outcomer](s)
	_, blobs := zodb.As[zodb.BlobStore](s)
	_, restore := zodb.As[zodb.Restorer](s)
	return pickle.NewDict(
		"length", info.Objects, "size", info.Size, "name", info.Name,
		"supportsUndo", undo, "supports_record_iternext", records,
		"interfaces", interfaces(s), "zari_tokens", outcomes, "zari_restore_blobs", blobs && restore), nil
}

// interfaces names the ZODB interfaces that the storage's abilities amount to, in
// the order in which Python's storages list them.
func interfaces(s zodb.Storage) pickle.Tuple {
	var list pickle.Tuple
	add := func(has bool, module string, names ...string) {
		for _, name := range names {
			if has {
				list = append(list, pickle.Tuple{module, name})
			}
		}
	}
	_, blobs := zodb.As[zodb.BlobStore](s)
	_, restore := zodb.As[zodb.Restorer](s)
	_, iterate := zodb.As[zodb.Iterator](s)
	_, undo := zodb.As[zodb.Undoer](s)
	_, records := zodb.As[zodb.RecordIterator](s)
	_, deletes := zodb.As[zodb.Deleter](s)
	const z = "ZODB.interfaces"
	add(blobs && restore, z, "IBlobStorageRestoreable")
	add(blobs, z, "IBlobStorage")
	add(restore, z, "IStorageRestoreable")
	add(iterate && undo, z, "IStorageIteration")
	add(undo, z, "IStorageUndoable")
	add(records, z, "IStorageCurrentRecordIteration")
	add(deletes, z, "IExternalGC")
	add(true, z, "IStorage")
	add(iterate && !undo, z, "IStorageIteration")
	add(true, "zope.interface", "Interface")
	return list
}
