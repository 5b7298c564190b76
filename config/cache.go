package config

import (
	"fmt"
	"strings"

	"github.com/zaridb/zari/config/zconfig"
)

// DefaultCache is the size of a cache of records that nobody has given one.
const DefaultCache = 256 << 20

// CacheStorage is the section <cache>, which is Zari's own: records of the wrapped
// storage are kept in memory, for all clients.
type CacheStorage struct {
	Wrapped
	Size int64 // size, default 256 MB: bytes of memory at most
}

var _ Storage = (*CacheStorage)(nil)

// Cached is what storages have in common whose records a server keeps in memory
// without being told to.
type Cached struct {
	CacheSize int64 // bytes of memory at most, default 256 MB; 0: none are kept
}

// cached reads the key that says the size.
func cached(r *reader, key string, parse func(string) (int64, error)) Cached {
	return Cached{CacheSize: get(r, key, parse, DefaultCache)}
}

// megabytes reads a whole number of MB.
func megabytes(s string) (int64, error) {
	n, err := zconfig.Integer(s)
	if err == nil && (n < 0 || n > 1<<30) {
		err = fmt.Errorf("%q is not a size in MB", s)
	}
	return int64(n) << 20, err
}

// addresses reads HOST:PORT and paths of sockets, with spaces between them.
func addresses(s string) ([]string, error) {
	list := strings.Fields(s)
	for i, a := range list {
		if strings.HasPrefix(a, "/") {
			continue
		}
		if !strings.Contains(a, ":") {
			list[i] += ":11211"
			continue
		}
		if _, err := zconfig.SocketConnectionAddress(a); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (c *Cached) describe(p *phrase) {
	p.add(c.CacheSize == 0, "no cache of records")
	p.add(c.CacheSize != 0 && c.CacheSize != DefaultCache, "a cache of records of %s", Bytes(c.CacheSize))
}

func (l *loader) cacheStorage(s *zconfig.Section, base Section) Storage {
	r := l.reader(s, "")
	c := &CacheStorage{Size: get(r, "size", zconfig.ByteSize, DefaultCache), Wrapped: l.wrapped(s, base)}
	r.finish()
	if c.Size < 1 {
		l.fail(s.Pos, "leave out <cache>", "%v: a cache without a size", s)
	}
	l.cachedOnce(s, c.Storage)
	return c
}

// cachedOnce sees to it that what is in a <cache> has no cache of its own besides.
func (l *loader) cachedOnce(s *zconfig.Section, inner Storage) {
	var own *Cached
	switch inner := inner.(type) {
	case nil:
		return
	case *FileStorage, *MappingStorage:
		l.note(s.Pos, fmt.Sprintf("%v does little for <%s>, whose records are as near as its own", s, inner.Head().Type))
	case *RelStorage:
		own = &inner.Cached
	case *S3Storage:
		own = &inner.Cached
	case *CacheStorage:
		l.fail(inner.Pos, "leave out one <cache>", "the storage in %v has a cache already", s)
	case *BlobStorage, *ZlibStorage, *BeforeStorage, *ReadOnlyStorage, *DelayedStorage, *Database:
		for _, part := range inner.Parts() {
			l.cachedOnce(s, part)
		}
	}
	switch {
	case own == nil:
	case own.CacheSize != 0 && own.CacheSize != DefaultCache:
		l.fail(inner.Position(), "leave out <cache>, or the key in it", "the storage in %v has a cache already", s)
	default:
		own.CacheSize = 0
	}
}
