package storages

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zeo/server"
	"github.com/zaridb/zari/zodb"
)

// openClient opens the storage of another server.
func (o *opener) openClient(ctx context.Context, c *config.ClientStorage, blobDir string) (zodb.Storage, error) {
	if c.BlobDir != "" && blobDir != "" {
		return nil, errTwoBlobDirs
	}
	if blobDir == "" {
		blobDir = c.BlobDir
	}
	opts := client.Options{
		Storage: c.Storage, Name: c.Title, Label: c.Label,
		ReadOnly: c.ReadOnly || o.ReadOnly, ReadOnlyFallback: c.ReadOnlyFallback,
		Wait: c.Wait, WaitTimeout: c.WaitTimeout, MaxRetry: min(c.MinReconnect, c.MaxReconnect),
		CacheBytes: c.CacheSize, BlobDir: blobDir, SharedBlobDir: c.SharedBlobDir, BlobCacheBytes: c.BlobCacheSize,
		Logger: o.Logger,
	}
	if c.CacheSize == 0 {
		opts.CacheBytes = -1
	}
	for _, a := range c.Servers {
		opts.Addresses = append(opts.Addresses, a.String())
	}
	var err error
	if opts.TLS, err = clientTLS(c.SSL); err != nil {
		return nil, err
	}
	s, err := client.Open(ctx, opts)
	if errors.Is(err, client.ErrDisconnected) && o.Survive {
		if o.Logger != nil {
			o.Logger.WarnContext(ctx, "the server cannot be reached, and is tried on", "storage", c.StorageName(), "err", err)
		}
		opts.Wait = false
		s, err = client.Open(ctx, opts)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// clientTLS makes a configuration of a client's <ssl>.
func clientTLS(c *config.ClientSSL) (*tls.Config, error) {
	if c == nil {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerHostname}
	if c.Certificate != "" {
		key := c.Key
		if key == "" {
			key = c.Certificate
		}
		cert, err := tls.LoadX509KeyPair(c.Certificate, key)
		if err != nil {
			return nil, fmt.Errorf("%v: certificate %s: %w", c.Pos, c.Certificate, err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	if c.Authenticate != "" {
		pool, err := server.CertPool(c.Authenticate)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", c.Pos, err)
		}
		cfg.RootCAs = pool
	}
	if !c.CheckHostname && c.ServerHostname == "" {
		anyHost(cfg)
	}
	return cfg, nil
}

// anyHost checks the server's certificate, but not whose it is.
func anyHost(cfg *tls.Config) {
	cfg.InsecureSkipVerify = true // the check below takes its place
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: cfg.RootCAs, Intermediates: x509.NewCertPool()}
		for _, c := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(opts)
		return err
	}
}
