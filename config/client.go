package config

import (
	"time"

	"github.com/zaridb/zari/config/zconfig"
)

// Defaults of a client.
const (
	defaultClientCache  = 20 << 20
	defaultWaitTimeout  = 30 * time.Second
	defaultMinReconnect = 5 * time.Second
	defaultMaxReconnect = 300 * time.Second
)

// clientStorage reads <zeoclient> and <clientstorage>, which have most keys in
// common. Each may have those of the other.
func (l *loader) clientStorage(s *zconfig.Section, base Section) Storage {
	r := l.reader(s, "")
	c := &ClientStorage{
		Section: base,
		Servers: getAll(r, "server", zconfig.SocketConnectionAddress),
		Storage: get(r, "storage", text, "1"),
		Title:   get(r, "name", text, ""),
		Label:   get(r, "client-label", text, ""),

		ReadOnly:         get(r, "read-only", zconfig.Boolean, false),
		ReadOnlyFallback: get(r, "read-only-fallback", zconfig.Boolean, false),

		Wait:         get(r, "wait", zconfig.Boolean, true),
		WaitTimeout:  get(r, "wait-timeout", wholeSeconds, defaultWaitTimeout),
		MinReconnect: get(r, "min-disconnect-poll", wholeSeconds, defaultMinReconnect),
		MaxReconnect: get(r, "max-disconnect-poll", wholeSeconds, defaultMaxReconnect),

		CacheSize:     get(r, "cache-size", zconfig.ByteSize, defaultClientCache),
		BlobDir:       get(r, "blob-dir", l.optionalPath, ""),
		SharedBlobDir: get(r, "shared-blob-dir", zconfig.Boolean, false),
		BlobCacheSize: get(r, "blob-cache-size", zconfig.ByteSize, 0),
	}
	l.checkClient(r, s, c)
	r.finish()
	l.noSections(s, "ssl")
	seen := make(map[string]*zconfig.Section)
	for _, sub := range s.Sections {
		if sub.Type == "ssl" && l.once(seen, sub) {
			c.SSL = l.clientSSL(sub)
		}
	}
	return c
}

// checkClient reads the keys that do nothing here, and looks at those that do.
func (l *loader) checkClient(r *reader, s *zconfig.Section, c *ClientStorage) {
	if len(c.Servers) == 0 {
		l.fail(s.Pos, "", `%v has no "server", and needs one`, s)
	}
	if c.ReadOnly && c.ReadOnlyFallback {
		l.fail(s.Pos, "leave out one", "%v: read-only and read-only-fallback exclude each other", s)
	}
	if c.SharedBlobDir && c.BlobDir == "" {
		l.fail(s.Pos, "name it as blob-dir", "%v: there is a shared-blob-dir, but no directory", s)
	}
	for _, name := range []string{"client", "var", "cache-path"} {
		r.remark(name, "is not used: the cache is in memory, and is gone when the server ends")
	}
	if get(r, "drop-cache-rather-verify", zconfig.Boolean, false) {
		r.remark("drop-cache-rather-verify", "is not used: the cache in memory is kept as far as the server can tell what has changed")
	}
	if get(r, "server-sync", zconfig.Boolean, false) {
		r.remark("server-sync", "is not used: it is for programs that begin transactions of their own")
	}
	get(r, "blob-cache-size-check", count, 0)
	r.remark("blob-cache-size-check", "is not used: the size of the blob cache is watched all the time")
	for _, name := range []string{"username", "password", "realm"} {
		r.remark(name, "is not used: password authentication has gone from the ZEO protocol; see <ssl>")
	}
}

func (l *loader) clientSSL(s *zconfig.Section) *ClientSSL {
	r := l.reader(s, "")
	ssl := &ClientSSL{
		Pos:            s.Pos,
		Certificate:    get(r, "certificate", l.optionalPath, ""),
		Key:            get(r, "key", l.optionalPath, ""),
		Authenticate:   get(r, "authenticate", l.authenticate, ""),
		CheckHostname:  get(r, "check-hostname", zconfig.Boolean, true),
		ServerHostname: get(r, "server-hostname", text, ""),
	}
	r.refuse("password-function", passwordFunction)
	if ssl.Key != "" && ssl.Certificate == "" {
		l.fail(s.Pos, "", "%v has a key but no certificate", s)
	}
	r.finish()
	l.noSections(s)
	return ssl
}
