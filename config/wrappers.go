package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/zaridb/zari/config/zconfig"
)

func (l *loader) blobStorage(s *zconfig.Section, base Section) Storage {
	r := l.reader(s, "")
	bs := &BlobStorage{BlobDir: need(r, "blob-dir", l.path), Wrapped: l.wrapped(s, base)}
	r.finish()
	l.takesBlobs(s, bs.Storage)
	l.blobDirs = append(l.blobDirs, placed{s.Pos, bs.BlobDir})
	return bs
}

// takesBlobs refuses what a <blobstorage> cannot give blobs to: in the end they
// belong to one engine.
func (l *loader) takesBlobs(s *zconfig.Section, inner Storage) {
	const leaveOut = "leave out <blobstorage>, and name the directory there"
	switch inner := inner.(type) {
	case nil:
	case *FileStorage:
		if inner.BlobDir != "" {
			l.fail(inner.Pos, "leave out <blobstorage>, or the inner blob-dir", "the storage in %v has blobs already", s)
		}
	case *RelStorage:
		inner.BlobsOutside = true
		if inner.BlobDir != "" {
			l.fail(inner.Pos, "leave out <blobstorage>, or the inner blob-dir", "the storage in %v has blobs already", s)
		}
	case *BlobStorage:
		l.fail(inner.Pos, "leave out one <blobstorage>", "the storage in %v has blobs already", s)
	case *ClientStorage:
		l.fail(inner.Pos, leaveOut, "%v: the blobs of <%s> are those of its server", s, inner.Type)
	case *DemoStorage:
		l.fail(inner.Pos, leaveOut, "%v: the blobs of <demostorage> are those of its base and its changes", s)
	case *Use:
		l.fail(inner.Pos, leaveOut, "%v: the blobs of a storage are named where it has its section", s)
	default:
		for _, part := range inner.Parts() {
			l.takesBlobs(s, part)
		}
	}
}

func (l *loader) demoStorage(s *zconfig.Section, base Section) Storage {
	r := l.reader(s, "")
	d := &DemoStorage{Section: base, Title: get(r, "name", text, "")}
	r.finish()
	for _, sub := range s.Sections {
		switch {
		case sub.Name == "changes":
			d.Changes = l.storage(sub)
		case d.Base != nil:
			l.fail(sub.Pos, `name the other one "changes"`, "%v has a base already, at %v", s, d.Base.Position())
		default:
			d.Base = l.storage(sub)
		}
	}
	if d.Changes == nil {
		l.note(s.Pos, s.String()+` has no storage named "changes": what is written is kept in memory, and gone when it is closed`)
	}
	return d
}

func (l *loader) zlibStorage(s *zconfig.Section, base Section) Storage {
	r := l.reader(s, "")
	z := &ZlibStorage{
		Wrapped:  l.wrapped(s, base),
		Compress: get(r, "compress", zconfig.Boolean, true),
		Server:   s.Type == "serverzlibstorage",
	}
	r.finish()
	return z
}

func (l *loader) beforeStorage(s *zconfig.Section, base Section) Storage {
	r := l.reader(s, "")
	b := &BeforeStorage{File: get(r, "before-from-file", l.path, ""), Wrapped: l.wrapped(s, base)}
	switch k := r.key("before"); {
	case k == nil:
	case b.File != "":
		l.fail(k.Pos, "leave out one", "before and before-from-file exclude each other")
	case strings.EqualFold(k.Value, "startup"):
		b.Startup = true
	case !strings.EqualFold(k.Value, "now"):
		b.Time = get(r, "before", ParseTime, time.Time{})
	}
	r.finish()
	return b
}

// timeLayouts are the forms of a time, which is in UTC.
var timeLayouts = []string{"2006-1-2T15:4:5.999999999", "2006-1-2T15:4", "2006-1-2T15", "2006-1-2"}

// ParseTime reads a time as zc.beforestorage has it: YYYY-MM-DDTHH:MM:SS.SSS in
// UTC, of which all after the date may be missing from the end.
func ParseTime(s string) (time.Time, error) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write YYYY-MM-DDTHH:MM:SS, in UTC", s)
}

func (l *loader) readOnlyStorage(s *zconfig.Section, base Section) Storage {
	l.reader(s, "").finish()
	return &ReadOnlyStorage{l.wrapped(s, base)}
}
