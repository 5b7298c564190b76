package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
)

// TLSFiles name what a server needs to speak TLS, as the <ssl> section of ZEO has
// it. A client must always show a certificate.
type TLSFiles struct {
	Certificate  string // the server's, PEM, with its chain
	Key          string // PEM; "" if it is in the file of the certificate
	Authenticate string // file or directory of certificates that those of clients are checked against
	SystemRoots  bool   // take the authorities that the system trusts instead
}

// TLS is a configuration that can be read again while connections go on.
type TLS struct {
	files   TLSFiles
	current atomic.Pointer[tls.Config]
}

// NewTLS reads the files.
func NewTLS(files TLSFiles) (*TLS, error) {
	t := &TLS{files: files}
	return t, t.Reload()
}

// Reload reads the files again. New connections use what they say; on an error
// everything stays as it was.
func (t *TLS) Reload() error {
	key := t.files.Key
	if key == "" {
		key = t.files.Certificate
	}
	cert, err := tls.LoadX509KeyPair(t.files.Certificate, key)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", t.files.Certificate, err)
	}
	pool, err := t.clientRoots()
	if err != nil {
		return err
	}
	t.current.Store(&tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		MinVersion:   tls.VersionTLS12,
	})
	return nil
}

// Config returns a configuration that follows Reload.
func (t *TLS) Config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.current.Load(), nil },
	}
}

func (t *TLS) clientRoots() (*x509.CertPool, error) {
	if t.files.SystemRoots {
		return x509.SystemCertPool()
	}
	if t.files.Authenticate == "" {
		return nil, errors.New("TLS needs authenticate: what clients' certificates are checked against")
	}
	return CertPool(t.files.Authenticate)
}

// CertPool reads certificates that others are checked against: those of a file, or
// of all files of a directory.
func CertPool(path string) (*x509.CertPool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("authenticate: %w", err)
	}
	paths := []string{path}
	if info.IsDir() {
		if paths, err = filepath.Glob(filepath.Join(path, "*")); err != nil {
			return nil, err
		}
	}
	return readCerts(paths)
}

func readCerts(paths []string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	found := false
	for _, path := range paths {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("authenticate: %w", err)
		}
		found = pool.AppendCertsFromPEM(pem) || found
	}
	if !found {
		return nil, fmt.Errorf("authenticate: there is no certificate in %v", paths)
	}
	return pool, nil
}
