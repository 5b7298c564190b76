// Package tests3 starts S3 servers for tests: child processes on a free port of the
// loopback, with their data in a directory of the test.
//
//	server := tests3.Start(t)     // or skips the test and says why
//	bucket := server.Bucket(t)    // a new one
//
// Start runs versitygw, which heeds all conditions; it syncs nothing, so it is no proof
// of durability. `make tools` installs it. For a second opinion it runs MinIO instead, if
// ZARI_MINIO names its binary.
//
// # Environment
//
//	ZARI_TOOLS  the directory of installed servers; ~/.cache/zari/tools otherwise
//	ZARI_MINIO  a MinIO binary (go install github.com/minio/minio@latest)
//	CI          if set, a missing versitygw is a failure
package tests3

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Version is the versitygw that the tests are made for; earlier ones check a
// condition without a lock, and then write. The Makefile has the same.
const Version = "v1.8.0"

// The keys of every server.
const (
	AccessKey = "zari"
	SecretKey = "zari-secret"
)

// Server is a running S3 server.
type Server struct {
	Endpoint string // URL

	binary string
	args   []string
	env    []string
	stop   context.CancelFunc
	done   chan error
}

// Binary returns the path of versitygw, or skips the test.
func Binary(t testing.TB) string {
	t.Helper()
	tools := os.Getenv("ZARI_TOOLS")
	if home, err := os.UserHomeDir(); tools == "" && err == nil {
		tools = filepath.Join(home, ".cache", "zari", "tools")
	}
	binary := filepath.Join(tools, "versitygw-"+Version)
	if _, err := os.Stat(binary); err != nil {
		missing(t, "there is no versitygw "+Version+": `make tools` installs it ("+err.Error()+")")
	}
	return binary
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	addr := freeAddr(t)
	s := &Server{Endpoint: "http://" + addr}
	if s.binary = os.Getenv("ZARI_MINIO"); s.binary != "" {
		s.args = []string{"server", "--quiet", "--address", addr, tempDir(t)}
		s.env = []string{"MINIO_ROOT_USER=" + AccessKey, "MINIO_ROOT_PASSWORD=" + SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off"}
	} else {
		s.binary = Binary(t)
		// It keeps etags in extended attributes. (With --sidecar it keeps them in
		// other files, and answers the bytes of one object with the etag of the next.)
		s.args = []string{"--port", addr, "--quiet", "posix", tempDir(t)}
		s.env = []string{"ROOT_ACCESS_KEY=" + AccessKey, "ROOT_SECRET_KEY=" + SecretKey}
	}
	return start(t, s)
}

func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// tempDir is a directory that is removed even if a server still wrote into it.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "zari-s3-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func start(t testing.TB, s *Server) *Server {
	t.Helper()
	s.Start(t)
	t.Cleanup(s.Kill)
	return s
}

// Start starts a server again that was killed: on the same port, with its data.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s.stop, s.done = stop, make(chan error, 1)
	cmd := exec.CommandContext(ctx, s.binary, s.args...)
	cmd.Env = append(os.Environ(), s.env...)
	dieWithParent(cmd)
	go func() {
		runtime.LockOSThread() // the child dies when the thread that started it does
		s.done <- cmd.Run()
	}()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(s.Endpoint)
		if err == nil {
			resp.Body.Close()
			return
		}
		select {
		case err := <-s.done:
			t.Fatalf("%s ended at once: %v", s.binary, err)
		default:
		}
		if time.Now().After(deadline) {
			s.Kill()
			t.Fatalf("%s does not answer: %v", s.binary, err)
		}
	}
}

// Kill ends the server with SIGKILL. Its data stay until the test ends.
func (s *Server) Kill() {
	s.stop()
	if s.done != nil {
		<-s.done
		s.done = nil
	}
}

var buckets atomic.Int64

// Bucket makes a new bucket and returns its name.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("zari-test-%d", buckets.Add(1))
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // tests look for goroutines left behind
	client := s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, Region: "us-east-1", UsePathStyle: true, HTTPClient: once,
		Credentials: credentials.NewStaticCredentialsProvider(AccessKey, SecretKey, ""),
	})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	return name
}
