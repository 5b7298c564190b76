package mysql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"
)

// Options say which database, and how to reach it.
type Options struct {
	// Addresses are where the database's server is: "host", "host:port", or the path
	// of a unix socket. With several the first that answers and takes writes is
	// used, for each new connection. Default: 127.0.0.1:3306.
	Addresses []string

	// Replicas, if not nil, returns what takes the place of Addresses. It is asked for
	// each new connection, and may be called concurrently.
	Replicas func() []string

	User     string
	Password string
	Database string

	TLS            TLS
	ConnectTimeout time.Duration // for one address; default 10 s

	Connections int           // at most so many for loads; default 10
	Votes       int           // shared: at most so many votes hold locks at a time, each has a connection; default 64
	Poll        time.Duration // shared: how often to look for what others committed; default 100 ms

	// ReadOnly: a server that takes no writes will do.
	ReadOnly bool

	Logger *slog.Logger
}

// TLS says how connections are encrypted, and who must be at the other end. The
// files are read anew for each connection, so they may be replaced.
type TLS struct {
	Mode TLSMode

	CA   string // path of the certificates (PEM) that sign the server's; default: those of the system
	Cert string // path of our own certificate, if the server wants one
	Key  string // path of its key

	// ServerName is whom the server's certificate must name; default: the host.
	ServerName string
}

// TLSMode names are those of MySQL's own --ssl-mode.
type TLSMode string

const (
	Disabled       TLSMode = "disabled"        // plain text
	Required       TLSMode = "required"        // encrypted, but with anybody
	VerifyCA       TLSMode = "verify-ca"       // with somebody whom CA vouches for
	VerifyIdentity TLSMode = "verify-identity" // who is the host that we asked for
)

// mode is verify-identity if a CA is given, else disabled, unless it is said.
func (t TLS) mode() TLSMode {
	switch {
	case t.Mode != "":
		return TLSMode(strings.ToLower(string(t.Mode)))
	case t.CA != "" || t.Cert != "":
		return VerifyIdentity
	}
	return Disabled
}

func (o Options) withDefaults() Options {
	if len(o.Addresses) == 0 {
		o.Addresses = []string{"127.0.0.1:3306"}
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	if o.Connections == 0 {
		o.Connections = 10
	}
	if o.Votes == 0 {
		o.Votes = 64
	}
	if o.Poll == 0 {
		o.Poll = 100 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// addresses are where the database's server may be now.
func (o Options) addresses() []string {
	if o.Replicas != nil {
		return o.Replicas()
	}
	return o.Addresses
}

// check refuses what would be found out only when a connection is made.
func (o Options) check() error {
	switch o.TLS.mode() {
	case Disabled, Required, VerifyCA, VerifyIdentity:
	default:
		return fmt.Errorf("mysql: there is no TLS mode %q: it is disabled, required, verify-ca or verify-identity", o.TLS.Mode)
	}
	switch {
	case o.Database == "":
		return errors.New("mysql: no database is named")
	case (o.TLS.Cert == "") != (o.TLS.Key == ""):
		return errors.New("mysql: a TLS certificate goes with a key: name both files")
	}
	return nil
}

// endpoint is one of the addresses, as net.Dial wants it.
type endpoint struct{ network, address, host string }

func parseAddress(a string) endpoint {
	if strings.HasPrefix(a, "/") || strings.HasPrefix(a, "@") {
		return endpoint{"unix", a, "localhost"}
	}
	if host, _, err := net.SplitHostPort(a); err == nil {
		return endpoint{"tcp", a, host}
	}
	host := strings.Trim(a, "[]")
	return endpoint{"tcp", net.JoinHostPort(host, "3306"), host}
}

// config returns what a connection to host is made with, nil for plain text.
func (t TLS) config(host string) (*tls.Config, error) {
	mode := t.mode()
	if mode == Disabled {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("the CA's certificates: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: there is no certificate in PEM form in it", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("our TLS certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if mode != VerifyIdentity {
		c.InsecureSkipVerify = true // no name is looked at; verify-ca checks the rest itself
	}
	if mode == VerifyCA {
		c.VerifyConnection = func(s tls.ConnectionState) error { return signed(s, c.RootCAs) }
	}
	return c, nil
}

// signed checks a server's certificate, but not whom it names.
func signed(s tls.ConnectionState, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

// dialer connects, and notices a peer that is gone without a word.
func dialer(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		Timeout:         timeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4},
		Control:         boundUnacknowledged,
	}
	return d.DialContext
}
