package sqlstorage

import (
	"log/slog"

	"github.com/zaridb/zari/internal/roster"
	"github.com/zaridb/zari/zodb"
)

// Options are the settings of an Engine. The zero value is an exclusive server of a
// history-preserving database without blobs.
type Options struct {
	Form Form

	// Create makes tables that are missing. Without it they are an error.
	Create bool

	// Shared is for a database that others write to as well: RelStorage clients, and
	// servers that are shared, too.
	Shared bool

	// Clear throws away what is in the database when it is opened, blobs included.
	Clear bool

	// ReadOnly takes no lease and writes nothing.
	ReadOnly bool

	// Blobs says where blobs are kept; nil for a storage without.
	Blobs *BlobOptions

	// PackGC makes every pack collect garbage, also where the caller did not ask for
	// it.
	PackGC bool

	// References appends the oids that a record's data refer to within the same
	// database. It must not keep data, and may be called concurrently. Without it
	// there is no garbage collection. An error ends the pack.
	References func(data []byte, dst []zodb.OID) ([]zodb.OID, error)

	Page   *roster.Page // where operators find the dialect, and that the engine closes; nil: nowhere
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
