package bucket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// transport counts what goes over the wire.
type transport struct {
	base  http.RoundTripper
	meter objstore.Meter
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	counterOf(&t.meter, req).Add(1)
	t.meter.BytesIn.Add(max(req.ContentLength, 0))
	resp, err := t.base.RoundTrip(req)
	if err != nil || resp.StatusCode >= 300 {
		t.meter.Errors.Add(1)
	}
	if err == nil {
		resp.Body = &countedBody{resp.Body, &t.meter.BytesOut}
	}
	return resp, err
}

// counterOf says as what a request is billed.
func counterOf(m *objstore.Meter, req *http.Request) *atomic.Int64 {
	switch req.Method {
	case http.MethodGet:
		if req.URL.Query().Has("list-type") {
			return &m.List
		}
		return &m.Get
	case http.MethodHead:
		return &m.Head
	case http.MethodDelete:
		return &m.Delete
	}
	return &m.Put
}

// CloseIdleConnections is what http.Client looks for.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// newTransport is HTTP/1.1 with as many connections as there are requests at a time: a
// store is many machines behind one name, and one connection would go to one of them.
func newTransport(opts Options) (http.RoundTripper, error) {
	roots, err := authorities(opts.CAFile)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &stallConn{conn, opts.Timeout}, nil
		},
		MaxIdleConnsPerHost:   128,
		MaxConnsPerHost:       256,
		IdleConnTimeout:       min(opts.Timeout/2, 10*time.Second), // before the store does
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: opts.Timeout,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		ReadBufferSize:        64 << 10,
		WriteBufferSize:       64 << 10,
	}, nil
}

// authorities reads the certificates that the store's is checked with. nil: the system's.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		file = os.Getenv("AWS_CA_BUNDLE")
	}
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca-file %s: %w", file, errors.New("no certificate in it"))
	}
	return pool, nil
}

// stallConn is a connection that fails when nothing has moved for a while.
type stallConn struct {
	net.Conn
	limit time.Duration
}

func (c *stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write gives the answer its time, too: the reader waits since before.
func (c *stallConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
