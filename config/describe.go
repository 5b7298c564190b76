package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/zaridb/zari/config/zconfig"
)

// Describe says in plain words what a storage is, without its parts.
func Describe(s Storage) string {
	switch s := s.(type) {
	case *FileStorage:
		return s.describe()
	case *MappingStorage:
		return "in memory, gone when it is closed"
	case *ClientStorage:
		return s.describe()
	case *RelStorage:
		return s.describe()
	case *S3Storage:
		return s.describe()
	case *BlobStorage:
		return "blobs in " + s.BlobDir + ", for"
	case *DemoStorage:
		return s.describe()
	case *ZlibStorage:
		return s.describe()
	case *BeforeStorage:
		return s.describe()
	case *ReadOnlyStorage:
		return "cannot be written"
	case *CacheStorage:
		return "records are kept in memory, at most " + Bytes(s.Size)
	case *DelayedStorage:
		return "loads take longer than they need to"
	case *Database:
		return s.describe()
	case *Use:
		return fmt.Sprintf("the storage %q, which is opened once for all who use it", s.Of)
	}
	return s.Head().Type
}

// phrase joins what is true of a storage.
type phrase []string

func (p *phrase) add(is bool, format string, args ...any) {
	if is {
		*p = append(*p, fmt.Sprintf(format, args...))
	}
}

func (p phrase) String() string { return strings.Join(p, ", ") }

func (s *FileStorage) describe() string {
	p := phrase{"the file " + s.Path}
	p.add(s.BlobDir != "", "blobs in %s", s.BlobDir)
	p.add(s.ReadOnly, "cannot be written")
	p.add(s.Create, "emptied when it is opened")
	p.add(s.Quota > 0, "at most %s", Bytes(s.Quota))
	p.add(!s.PackGC, "packing keeps what cannot be reached")
	p.add(!s.PackKeepOld, "packing leaves no .old file")
	return p.String()
}

func (s *ClientStorage) describe() string {
	var servers []string
	for _, a := range s.Servers {
		servers = append(servers, a.String())
	}
	p := phrase{fmt.Sprintf("storage %q of the server at %s", s.Storage, strings.Join(servers, " or "))}
	p.add(s.SSL != nil, "with TLS")
	p.add(s.ReadOnly, "cannot be written")
	p.add(s.ReadOnlyFallback, "a server that cannot be written will do")
	p.add(s.BlobDir != "" && s.SharedBlobDir, "blobs in %s, the server's own folder", s.BlobDir)
	p.add(s.BlobDir != "" && !s.SharedBlobDir, "a copy of blobs in %s", s.BlobDir)
	p.add(s.BlobCacheSize > 0, "at most %s of them", Bytes(s.BlobCacheSize))
	p.add(true, "a cache of %s", Bytes(s.CacheSize))
	p.add(!s.Wait, "opened without waiting for a connection")
	p.add(s.WaitTimeout != defaultWaitTimeout, "waits %v for a connection", s.WaitTimeout)
	return p.String()
}

func (s *DemoStorage) describe() string {
	p := phrase{"changes beside a base that stays as it is"}
	p.add(s.Base == nil, "the base is empty")
	p.add(s.Changes == nil, "the changes are in memory, gone when it is closed")
	return p.String()
}

func (s *ZlibStorage) describe() string {
	switch {
	case s.Server:
		return "records that clients have compressed"
	case s.Compress:
		return "records are compressed"
	}
	return "compressed records are read, new ones are not compressed"
}

func (s *BeforeStorage) describe() string {
	switch {
	case s.File != "":
		return "as it was at the time that is in " + s.File + ", cannot be written"
	case s.Startup:
		return "as it is when the process begins, cannot be written"
	case s.Time.IsZero():
		return "as it is when it is opened, cannot be written"
	}
	return "as it was before " + s.Time.Format(time.RFC3339Nano) + ", cannot be written"
}

func (s *Database) describe() string {
	p := phrase{"a database"}
	p.add(s.DatabaseName != "" && s.DatabaseName != s.Name, "which Python calls %q", s.DatabaseName)
	p.add(len(s.MountPoints) > 0, "which Zope shows at %s", strings.Join(s.MountPoints, ", "))
	return p.String()
}

// Bytes writes a number of bytes as ZConfig reads it.
func Bytes(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1 << 30, "GB"}, {1 << 20, "MB"}, {1 << 10, "KB"}} {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprintf("%d%s", n/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// where says in plain words where a server listens.
func where(a zconfig.Address) string {
	switch {
	case a.Path != "":
		return "the Unix socket " + a.Path
	case a.Port == 0 && a.Host == "":
		return "any free port, on all interfaces"
	case a.Port == 0:
		return "any free port of " + a.Host
	case a.Host == "":
		return fmt.Sprintf("port %d, on all interfaces", a.Port)
	}
	return a.String()
}
