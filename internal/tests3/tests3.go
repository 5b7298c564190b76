// Package tests3 starts S3 servers for tests, as package testserver does.
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
//	ZARI_TOOLS        the directory of installed servers; ~/.cache/zari/tools otherwise
//	ZARI_MINIO        a MinIO binary (go install github.com/minio/minio@latest)
//	ZARI_TEST_S3_URL  a bucket of somebody's own, for the tests that ask for [RealURL]
package tests3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/zaridb/zari/internal/testserver"
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
		testserver.Require(t, testserver.Missing("there is no versitygw "+Version+": `make tools` installs it ("+err.Error()+")"))
	}
	return binary
}

// RealURL returns the URL of a real bucket, or skips the test.
func RealURL(t testing.TB) string {
	t.Helper()
	url := os.Getenv("ZARI_TEST_S3_URL")
	if url == "" {
		t.Skip("ZARI_TEST_S3_URL does not name a bucket, as s3://bucket/prefix?region=eu-central-1")
	}
	return url
}

// environment has the keys for whichever server it is.
var environment = []string{
	"ROOT_ACCESS_KEY=" + AccessKey, "ROOT_SECRET_KEY=" + SecretKey,
	"MINIO_ROOT_USER=" + AccessKey, "MINIO_ROOT_PASSWORD=" + SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	program := os.Getenv("ZARI_MINIO")
	minio := program != ""
	if !minio {
		program = Binary(t)
	}
	server := new(Server)
	s, err := testserver.New(testserver.Kind{
		Name:    filepath.Base(program),
		OnDisk:  true, // not all file systems in memory have what they use: extended attributes, writes past the cache
		Env:     environment,
		Answers: server.answers,
	})
	testserver.Require(t, err)
	t.Cleanup(s.Stop)
	data := filepath.Join(s.Dir, "data")
	testserver.Require(t, os.Mkdir(data, 0o700))
	if minio {
		s.Command = []string{program, "server", "--quiet", "--address", s.Addr(), data}
	} else {
		// It keeps etags in extended attributes. (With --sidecar it keeps them in
		// other files, and answers the bytes of one object with the etag of the next.)
		s.Command = []string{program, "--port", s.Addr(), "--quiet", "posix", data}
	}
	server.Endpoint = "http://" + s.Addr()
	testserver.Require(t, s.Run())
	return server
}

// once leaves no connection, and no goroutine, which tests look for.
var once = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// answers returns no error when the server does more than listen: MinIO then says for a
// while that it is not available.
func (s *Server) answers(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint, nil)
	if err != nil {
		return err
	}
	resp, err := once.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError {
		return errors.New(resp.Status)
	}
	return nil
}

var buckets atomic.Int64

// Bucket makes a new bucket and returns its name.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("zari-test-%d", buckets.Add(1))
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
