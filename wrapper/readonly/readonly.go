// Package readonly has a storage that cannot be written, over one that perhaps can.
//
// Being read-only is a state, not a missing ability: everything is there that the
// wrapped storage has, and what would write says [zodb.ErrReadOnly]. What others
// write to the wrapped storage is seen at once.
package readonly

import (
	"context"
	"time"

	"github.com/zaridb/zari/zodb"
)

// Storage passes on what reads.
type Storage struct{ zodb.Storage }

var (
	_ zodb.Storage = (*Storage)(nil)
	_ zodb.Asser   = (*Storage)(nil)
)

// New wraps a storage, which the wrapper owns from now on.
func New(base zodb.Storage) *Storage { return &Storage{base} }

// Info says that the storage is read-only.
func (s *Storage) Info() zodb.Info {
	info := s.Storage.Info()
	info.ReadOnly = true
	return info
}

// NewOIDs returns ErrReadOnly.
func (s *Storage) NewOIDs(context.Context, int) ([]zodb.OID, error) { return nil, zodb.ErrReadOnly }

// Begin returns ErrReadOnly.
func (s *Storage) Begin(context.Context, zodb.TxnMeta) (zodb.Txn, error) {
	return nil, zodb.ErrReadOnly
}

// As passes on every ability that the wrapped storage has. Those that write need a
// transaction, which cannot be had; but for Pack and the folder of an object's
// blobs.
func (s *Storage) As(target any) bool {
	switch p := target.(type) {
	case *zodb.Packer:
		return zodb.Adapt(s.Storage, p, func(zodb.Packer) zodb.Packer { return packer{} })
	case *zodb.BlobStore:
		return zodb.Adapt(s.Storage, p, func(b zodb.BlobStore) zodb.BlobStore { return blobs{b} })
	}
	return zodb.PassOn(s.Storage, target)
}

type packer struct{}

// Pack returns ErrReadOnly.
func (packer) Pack(context.Context, time.Time, zodb.PackOptions) error { return zodb.ErrReadOnly }

// blobs gives nobody a place to write blobs to.
type blobs struct{ zodb.BlobStore }

func (blobs) BlobTempDir() (string, error)     { return "", zodb.ErrReadOnly }
func (blobs) BlobDir(zodb.OID) (string, error) { return "", zodb.ErrReadOnly }
