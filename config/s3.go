package config

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/zaridb/zari/config/zconfig"
)

// S3Storage is the section <s3storage>: a database in a bucket, or in a directory in the
// same form.
type S3Storage struct {
	Section
	URL          string        // url: s3://BUCKET/PREFIX?..., or s3dir:///DIRECTORY. Options in it win over those here
	BlobDir      string        // blob-dir: where blobs are cached; "": no blobs
	BlobCache    int64         // blob-cache-size, default 1 GiB
	CacheDir     string        // cache-dir: where blocks that were read are kept; "": in memory only
	CacheDirSize int64         // cache-dir-size: bytes in CacheDir, default 1 GiB
	ReadOnly     bool          // read-only: follow another server
	Log          string        // log: s3, postgres or local; where commits are before they are in the bucket
	LogDSN       string        // log-dsn: PostgreSQL's
	LogDir       string        // log-dir
	LogAbandon   string        // log-abandon: 32 hexadecimal digits
	LogBacklog   int64         // log-backlog, default 256 MiB
	Window       time.Duration // commit-window, default none
	MaxTxn       int64         // max-transaction, default 1 GiB
	Lease        time.Duration // lease, default 30 s
	KeepHistory  time.Duration // keep-history; 0: for ever
	PackGC       bool          // pack-gc, default true
	Cached
}

const (
	defaultBlobCache  = 1 << 30
	defaultBlockCache = 1 << 30
	defaultMaxTxn     = 1 << 30
	defaultLease      = 30 * time.Second
	defaultBacklog    = 256 << 20
)

func newS3(where string) *S3Storage {
	return &S3Storage{
		Section: Section{Type: "s3storage", Name: "1"}, URL: where,
		Log: "s3", LogBacklog: defaultBacklog, BlobCache: defaultBlobCache, CacheDirSize: defaultBlockCache,
		MaxTxn: defaultMaxTxn, Lease: defaultLease, PackGC: true, Cached: Cached{CacheSize: DefaultCache},
	}
}

func (l *loader) s3Storage(s *zconfig.Section, base Section) Storage {
	r := l.reader(s, "")
	st := &S3Storage{
		Section:      base,
		URL:          need(r, "url", s3URL),
		BlobDir:      get(r, "blob-dir", l.optionalPath, ""),
		BlobCache:    get(r, "blob-cache-size", SomeBytes, defaultBlobCache),
		CacheDir:     get(r, "cache-dir", l.optionalPath, ""),
		CacheDirSize: get(r, "cache-dir-size", SomeBytes, defaultBlockCache),
		ReadOnly:     get(r, "read-only", zconfig.Boolean, false),
		Log:          get(r, "log", S3Log, "s3"),
		LogDSN:       get(r, "log-dsn", LogDSN, ""),
		LogDir:       get(r, "log-dir", l.optionalPath, ""),
		LogAbandon:   get(r, "log-abandon", LogID, ""),
		LogBacklog:   get(r, "log-backlog", SomeBytes, defaultBacklog),
		Window:       get(r, "commit-window", Duration, 0),
		MaxTxn:       get(r, "max-transaction", SomeBytes, defaultMaxTxn),
		Lease:        get(r, "lease", Duration, defaultLease),
		KeepHistory:  get(r, "keep-history", Duration, 0),
		PackGC:       get(r, "pack-gc", zconfig.Boolean, true),
		Cached:       cached(r, "cache-size", zconfig.ByteSize),
	}
	r.finish()
	l.noSections(s)
	if !st.ReadOnly {
		l.blobDirs = append(l.blobDirs, placed{s.Pos, st.BlobDir})
	}
	return st
}

// s3URL reads the URL of a bucket or directory as far as its scheme.
func s3URL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "s3" && u.Scheme != "s3dir" {
		return "", fmt.Errorf("write s3://BUCKET/PREFIX or s3dir:///DIRECTORY")
	}
	if u.Scheme == "s3dir" && (u.Host != "" || !filepath.IsAbs(u.Path)) {
		return "", fmt.Errorf("a directory is written from the root: s3dir:///DIRECTORY")
	}
	return s, nil
}

// S3Log reads where the log is written.
func S3Log(s string) (string, error) {
	if s != "s3" && s != "postgres" && s != "local" {
		return "", fmt.Errorf("%q: a log is s3, postgres or local", s)
	}
	return s, nil
}

// LogDSN reads how to connect to the PostgreSQL of a log.
func LogDSN(s string) (string, error) { return parseDSN(s, func(string) {}) }

// LogID reads the id of a log.
func LogID(s string) (string, error) {
	if id, err := hex.DecodeString(s); err != nil || len(id) != 16 {
		return "", fmt.Errorf("%q is not the id of a log, which has 32 hexadecimal digits", s)
	}
	return s, nil
}

// SomeBytes reads a size that cannot be 0.
func SomeBytes(s string) (int64, error) {
	n, err := zconfig.ByteSize(s)
	if err == nil && n <= 0 {
		err = fmt.Errorf("%q: it must be at least one byte", s)
	}
	return n, err
}

// Duration reads a time as Go writes it: 100ms, 30s, 1h.
func Duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a time such as 100ms, 30s or 1h", s)
	}
	return d, nil
}

func (s *S3Storage) describe() string {
	where, _, _ := strings.Cut(s.URL, "?")
	p := phrase{"a database at " + where}
	p.add(s.Log == "postgres", "commits go to PostgreSQL first")
	p.add(s.Log == "local", "commits go to %s first", s.LogDir)
	p.add(s.BlobDir != "", "blobs cached in %s", s.BlobDir)
	p.add(s.CacheDir != "", "what was read is kept in %s", s.CacheDir)
	p.add(s.ReadOnly, "cannot be written")
	p.add(s.Window > 0, "commits gather for %v", s.Window)
	p.add(s.KeepHistory > 0, "history of %v", s.KeepHistory)
	p.add(!s.PackGC, "packing keeps what cannot be reached")
	s.Cached.describe(&p)
	return p.String()
}
