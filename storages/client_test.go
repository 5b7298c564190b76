package storages

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zeo/server"
	"github.com/zaridb/zari/zodb"
)

// serve serves a storage, and returns the address. cfg is nil for no TLS.
func serve(t *testing.T, s zodb.Storage, addr string, cfg *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	if cfg != nil {
		l = tls.NewListener(l, cfg)
	}
	srv, err := server.New(server.Options{Storages: map[string]zodb.Storage{"1": s}})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return addr
}

// upstream is a storage to be served.
func upstream(t *testing.T, dir string) zodb.Storage {
	t.Helper()
	s, err := Open(context.Background(), load(t, dir, "<filestorage 1>\n  path $dir/up.fs\n  blob-dir $dir/up\n</filestorage>")[0], Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestClientOfAServer(t *testing.T) {
	dir := t.TempDir()
	up := upstream(t, dir)
	addr := serve(t, up, "127.0.0.1:0", nil)
	s, err := OpenURL(context.Background(), "zeo://"+addr+"?wait_timeout=20&storage=1", Options{})
	if err != nil {
		t.Fatal(err)
	}
	oid := commit(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := up.LoadBefore(context.Background(), oid, zodb.MaxTID); err != nil {
		t.Errorf("what the client has committed: %v", err)
	}
	s, err = Open(context.Background(), load(t, dir, "%import ZEO\n<clientstorage 1>\n  server "+addr+"\n  blob-dir $dir/cache\n  read-only true\n</clientstorage>")[0], Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, ok := zodb.As[zodb.BlobStore](s); !ok {
		t.Error("no blobs, though there is a blob-dir")
	}
	if _, err := s.Begin(context.Background(), zodb.TxnMeta{}); !errors.Is(err, zodb.ErrReadOnly) {
		t.Errorf("Begin of a read-only client: %v", err)
	}
}

// A server that is not there is an error, or found later.
func TestClientOfAnAbsentServer(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	c := load(t, dir, "<zeoclient 1>\n  server "+addr+"\n  wait-timeout 1\n</zeoclient>")[0]
	if s, err := Open(context.Background(), c, Options{}); !errors.Is(err, client.ErrDisconnected) {
		t.Fatalf("Open: %v, %v", s, err)
	}
	s, err := Open(context.Background(), c, Options{Survive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.LoadBefore(context.Background(), 0, zodb.MaxTID); !errors.Is(err, client.ErrDisconnected) {
		t.Errorf("LoadBefore: %v", err)
	}
	up := upstream(t, dir)
	serve(t, up, addr, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		if _, err := s.NewOIDs(ctx, 1); err == nil {
			break
		} else if !errors.Is(err, client.ErrDisconnected) || ctx.Err() != nil {
			t.Fatalf("after the server has come: %v", err)
		}
	}
	commit(t, s)
}

// certificate writes a certificate for a name, signed by itself, and returns the file.
func certificate(t *testing.T, dir, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name+".pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestClientSpeaksTLS(t *testing.T) {
	dir := t.TempDir()
	theirs, ours, other := certificate(t, dir, "server.test"), certificate(t, dir, "client.test"), certificate(t, dir, "other.test")
	files, err := server.NewTLS(server.TLSFiles{Certificate: theirs, Authenticate: ours})
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, upstream(t, dir), "127.0.0.1:0", files.Config())
	for _, c := range []struct {
		name, ssl string
		good      bool
	}{
		{"named", fmt.Sprintf("certificate %s\nauthenticate %s\nserver-hostname server.test", ours, theirs), true},
		{"any name", fmt.Sprintf("certificate %s\nauthenticate %s\ncheck-hostname false", ours, theirs), true},
		{"wrong name", fmt.Sprintf("certificate %s\nauthenticate %s\nserver-hostname else.test", ours, theirs), false},
		{"the address's name", fmt.Sprintf("certificate %s\nauthenticate %s", ours, theirs), false},
		{"another server, any name", fmt.Sprintf("certificate %s\nauthenticate %s\ncheck-hostname false", ours, other), false},
		{"another client", fmt.Sprintf("certificate %s\nauthenticate %s\ncheck-hostname false", other, theirs), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			section := load(t, dir, "%import ZEO\n<clientstorage 1>\nserver "+addr+"\nwait-timeout 1\n<ssl>\n"+c.ssl+"\n</ssl>\n</clientstorage>")[0]
			s, err := Open(context.Background(), section, Options{})
			if (err == nil) != c.good {
				t.Errorf("Open: %v", err)
			}
			if err == nil {
				commit(t, s)
				s.Close()
			}
		})
	}
}
