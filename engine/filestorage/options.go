package filestorage

import (
	"log/slog"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// Options say which file to open, and how.
type Options struct {
	Path string // of the Data.fs
	FS   vfs.FS // nil: vfs.OS()

	BlobDir    string // where blobs are kept; "" for a storage without
	BlobLayout string // blobs.Bushy, blobs.Lawn, or "" for what the directory says

	// Create empties the storage, blobs included. A file that does not exist is
	// created in any case, unless ReadOnly.
	Create bool

	// ReadOnly takes no lock and writes nothing. What others append meanwhile is
	// not seen.
	ReadOnly bool

	// Stop, if not 0, shows the storage as it was before that transaction. It
	// needs ReadOnly.
	Stop zodb.TID

	// Quota bounds the bytes of the data file; 0 is no bound.
	Quota int64

	// PackGC and PackKeepOld make every pack collect garbage, and keep the old
	// file, also where the caller did not ask for it.
	PackGC      bool
	PackKeepOld bool

	// References appends the oids that a record's data refer to within the same
	// database. It must not keep data, and may be called concurrently. Without it
	// there is no garbage collection. An error ends the pack.
	References func(data []byte, dst []zodb.OID) ([]zodb.OID, error)

	// IndexEvery is how many bytes may be appended until the index file is saved
	// again. Default 256 MiB; it is always saved by Close.
	IndexEvery int64

	Logger *slog.Logger

	// Progress is told of long work: "index" is the rebuild of the index. It is
	// called about once for every 16 MiB.
	Progress func(what string, done, total int64)
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.IndexEvery == 0 {
		o.IndexEvery = 256 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	return o
}
