package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zaridb/zari/zeo/wire"
)

// writeCert makes a self-signed certificate and its key in one file, as people
// give them to ZEO.
func writeCert(t *testing.T, path, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(path, path)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// greeted connects with the certificates given, and returns the name in the
// server's certificate once the server has sent its greeting.
func greeted(addr string, certs ...tls.Certificate) (string, error) {
	conn, err := tls.Dial("tcp", addr, &tls.Config{Certificates: certs, InsecureSkipVerify: true})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := wire.NewReader(conn, 0).Next(); err != nil {
		return "", err
	}
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	serverFile, clients := filepath.Join(dir, "server.pem"), filepath.Join(dir, "clients")
	writeCert(t, serverFile, "first")
	if err := os.Mkdir(clients, 0o700); err != nil {
		t.Fatal(err)
	}
	known := writeCert(t, filepath.Join(clients, "client.pem"), "client")
	stranger := writeCert(t, filepath.Join(dir, "stranger.pem"), "stranger")
	conf, err := NewTLS(TLSFiles{Certificate: serverFile, Authenticate: clients})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(tls.NewListener(l, conf.Config()))
	addr := l.Addr().String()

	if name, err := greeted(addr, known); err != nil || name != "first" {
		t.Fatalf("a known client: %q, %v", name, err)
	}
	if _, err := greeted(addr, stranger); err == nil {
		t.Error("a client with a certificate that nobody knows is served")
	}
	if _, err := greeted(addr); err == nil {
		t.Error("a client without a certificate is served")
	}

	writeCert(t, serverFile, "second")
	if err := conf.Reload(); err != nil {
		t.Fatal(err)
	}
	if name, err := greeted(addr, known); err != nil || name != "second" {
		t.Errorf("after a reload: %q, %v", name, err)
	}
	if err := os.WriteFile(serverFile, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := conf.Reload(); err == nil {
		t.Error("nonsense is taken for a certificate")
	}
	if name, err := greeted(addr, known); err != nil || name != "second" {
		t.Errorf("after a reload that failed: %q, %v", name, err)
	}
}

func TestTLSNeedsAuthorities(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "server.pem")
	writeCert(t, file, "server")
	for _, files := range []TLSFiles{
		{Certificate: file},
		{Certificate: file, Authenticate: filepath.Join(dir, "absent")},
		{Certificate: filepath.Join(dir, "absent"), Authenticate: file},
	} {
		if _, err := NewTLS(files); err == nil {
			t.Errorf("%+v is taken", files)
		}
	}
}
