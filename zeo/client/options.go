package client

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Options say which server to use, and how. Only Addresses is required.
type Options struct {
	Addresses []string // host:port, or the path of a Unix socket; the first that answers is used
	Storage   string   // the storage's name on the server; default "1"
	Name      string   // for people; default the server's name of the storage
	Label     string   // what the server's log calls this client

	ReadOnly         bool // never write
	ReadOnlyFallback bool // a server that cannot be written will do as long as there is no other

	// Wait makes Open wait for a connection, up to WaitTimeout. Without it Open
	// returns at once.
	Wait        bool
	WaitTimeout time.Duration // how long operations wait for a connection; default 30 s
	MinRetry    time.Duration // between two attempts to connect, at first; default 100 ms
	MaxRetry    time.Duration // and in the end; default 5 s

	CacheBytes     int64  // of revisions in memory; default 20 MiB, negative for none
	BlobDir        string // where blobs are kept that were loaded or stored; "": no blobs
	SharedBlobDir  bool   // BlobDir is the server's own
	BlobCacheBytes int64  // of the files in a BlobDir that is not shared; 0: no limit

	TLS *tls.Config // nil: none. Without a ServerName the address's host is checked

	MaxFrame       int // bytes of one message from the server; default 256 MiB
	MaxConnections int // for transactions, iterations and blobs at the same time; default 256

	// Dial connects; default net.Dialer.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if len(o.Addresses) == 0 {
		return o, errors.New("zeo client: no address of a server")
	}
	set(&o.Storage, "1")
	set(&o.WaitTimeout, 30*time.Second)
	set(&o.MinRetry, 100*time.Millisecond)
	set(&o.MaxRetry, 5*time.Second)
	o.MaxRetry = max(o.MaxRetry, o.MinRetry)
	set(&o.CacheBytes, 20<<20)
	o.CacheBytes = max(o.CacheBytes, 0)
	set(&o.MaxFrame, 256<<20)
	set(&o.MaxConnections, 256)
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("logger", "ZEO.ClientStorage", "storage", o.Storage)
	return o, nil
}

// set gives an option its default.
func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// dial connects to an address, and shakes hands for TLS.
func (o *Options) dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	network := "tcp"
	if strings.Contains(addr, "/") {
		network = "unix"
	}
	nc, err := o.Dial(ctx, network, addr)
	if err != nil || o.TLS == nil {
		return nc, err
	}
	cfg := o.TLS.Clone()
	if host, _, err := net.SplitHostPort(addr); err == nil && cfg.ServerName == "" {
		cfg.ServerName = host
	}
	secure := tls.Client(nc, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return secure, nil
}
