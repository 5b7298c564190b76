package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/bucket"
	"github.com/zaridb/zari/internal/tests3"
)

// wire is what lies between a client and a server.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(req *http.Request) (*http.Response, error) { return w(req) }

// answer is what a store that is not there would say.
func answer(req *http.Request, status int, code string) *http.Response {
	body := ""
	if code != "" && req.Method != http.MethodHead {
		body = "<Error><Code>" + code + "</Code><Message>said the test</Message></Error>"
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Request: req, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body)), ProtoMajor: 1, ProtoMinor: 1,
	}
}

// canned is a store that always gives one answer, and a count of the requests.
func canned(t *testing.T, status int, code string) *bucket.Store {
	return open(t, bucket.Options{
		Bucket: "zodb", Endpoint: "http://s3.invalid", AccessKey: "a", SecretKey: "b",
		Transport: wire(func(req *http.Request) (*http.Response, error) { return answer(req, status, code), nil }),
	})
}

func get(t *testing.T, s objstore.Store) error {
	_, _, err := objstore.Read(t.Context(), s, "k", objstore.Range{})
	return err
}

func TestErrors(t *testing.T) {
	put := func(cond objstore.Cond) func(*testing.T, objstore.Store) error {
		return func(t *testing.T, s objstore.Store) error {
			_, err := s.Put(t.Context(), "k", []byte("x"), cond)
			return err
		}
	}
	head := func(t *testing.T, s objstore.Store) error {
		_, err := s.Head(t.Context(), "k")
		return err
	}
	remove := func(t *testing.T, s objstore.Store) error { return s.Delete(t.Context(), "k") }
	list := func(t *testing.T, s objstore.Store) (err error) {
		for _, err = range s.List(t.Context(), "k/", "") {
		}
		return err
	}
	match := put(objstore.IfMatch(`"1"`))
	for _, test := range []struct {
		name   string
		status int
		code   string
		do     func(*testing.T, objstore.Store) error
		want   error // nil: none of ours
		hint   string
	}{
		{"exists", 412, "PreconditionFailed", put(objstore.IfAbsent), objstore.ErrExists, ""},
		{"another", 412, "PreconditionFailed", match, objstore.ErrExists, ""},
		{"none to match", 404, "NoSuchKey", match, objstore.ErrExists, ""},
		{"no bucket to match in", 404, "NoSuchBucket", match, nil, "make the bucket"},
		{"conflict", 409, "ConditionalRequestConflict", put(objstore.IfAbsent), objstore.ErrConflict, ""},
		{"another 409", 409, "ObjectParentIsFile", put(objstore.IfAbsent), nil, "folder of another"},
		{"slow down", 503, "SlowDown", put(objstore.IfAbsent), nil, "fewer requests"},
		{"internal", 500, "InternalError", put(objstore.IfAbsent), nil, ""},
		{"not implemented", 501, "NotImplemented", put(objstore.IfAbsent), nil, "checksums=required"},
		{"not there", 404, "NoSuchKey", get, objstore.ErrNotExist, ""},
		{"no bucket", 404, "NoSuchBucket", get, nil, "make the bucket"},
		{"a web server's 404", 404, "", get, nil, ""},
		{"forbidden", 403, "AccessDenied", get, nil, "s3:ListBucket"},
		{"range", 416, "InvalidRange", get, objstore.ErrRange, ""},
		{"head", 404, "NoSuchKey", head, objstore.ErrNotExist, ""},
		{"head without a bucket", 404, "NoSuchBucket", head, nil, "make the bucket"},
		{"delete", 404, "NoSuchBucket", remove, nil, "make the bucket"},
		{"list", 404, "NoSuchBucket", list, nil, "make the bucket"},
		{"region", 301, "PermanentRedirect", get, nil, "region="},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.do(t, canned(t, test.status, test.code))
			var e *objstore.Error
			if !errors.As(err, &e) {
				t.Fatalf("%v", err)
			}
			for _, ours := range []error{objstore.ErrExists, objstore.ErrConflict, objstore.ErrNotExist, objstore.ErrRange} {
				if errors.Is(err, ours) != (ours == test.want) {
					t.Errorf("%v: is %q", err, ours)
				}
			}
			if !strings.Contains(e.Hint, test.hint) {
				t.Errorf("the hint of %v: %q", err, e.Hint)
			}
		})
	}
}

// TestPutIsSentOnce: also when the answer invites to try again.
func TestPutIsSentOnce(t *testing.T) {
	for _, cond := range []objstore.Cond{objstore.Always, objstore.IfAbsent, objstore.IfMatch(`"1"`)} {
		s := canned(t, 503, "SlowDown")
		_, _ = s.Put(t.Context(), "k", []byte("x"), cond)
		if n := s.Counts().Requests(); n != 1 {
			t.Errorf("%q: %d requests", cond, n)
		}
	}
}

func TestReadsAreTriedAgain(t *testing.T) {
	s := canned(t, 503, "SlowDown")
	if err := get(t, s); err == nil {
		t.Fatal("no error")
	}
	if n := s.Counts().Get; n != 5 {
		t.Errorf("%d requests", n)
	}
}

// between opens a store on a versitygw with a wire that the test bends.
func between(t *testing.T, change func(*bucket.Options), bend func(req *http.Request, pass wire) (*http.Response, error)) *bucket.Store {
	o := optionsOf(t, tests3.Start(t))
	pass := wire(http.DefaultTransport.RoundTrip)
	o.Transport = wire(func(req *http.Request) (*http.Response, error) { return bend(req, pass) })
	change(&o)
	return open(t, o)
}

var errLost = errors.New("the answer is lost")

// TestLostAnswer: a client that tries again would report the object that it has made
// itself as somebody else's.
func TestLostAnswer(t *testing.T) {
	lose := true
	s := between(t, func(*bucket.Options) {}, func(req *http.Request, pass wire) (*http.Response, error) {
		resp, err := pass(req)
		if lose && req.Method == http.MethodPut && err == nil {
			resp.Body.Close()
			return nil, errLost
		}
		return resp, err
	})
	_, err := s.Put(t.Context(), "k", []byte("mine"), objstore.IfAbsent)
	if !errors.Is(err, errLost) || errors.Is(err, objstore.ErrExists) {
		t.Errorf("Put: %v", err)
	}
	lose = false
	if data, _, err := objstore.Read(t.Context(), s, "k", objstore.Range{}); err != nil || string(data) != "mine" {
		t.Errorf("%q %v", data, err)
	}
}

// flipped changes one bit of a body in its middle.
func flipped(body io.ReadCloser) io.ReadCloser {
	data, _ := io.ReadAll(body)
	body.Close()
	if len(data) > 0 {
		data[len(data)/2] ^= 1
	}
	return io.NopCloser(bytes.NewReader(data))
}

// TestBytesChangedOnTheWay: the store refuses what it did not get as it was sent, and we
// refuse what we do not get as it was stored.
func TestBytesChangedOnTheWay(t *testing.T) {
	for _, checksums := range []string{"always", "required"} {
		t.Run(checksums, func(t *testing.T) {
			var method string
			s := between(t, func(o *bucket.Options) { o.Checksums = checksums }, func(req *http.Request, pass wire) (*http.Response, error) {
				if req.Method == method && method == http.MethodPut {
					req.Body = flipped(req.Body)
				}
				resp, err := pass(req)
				if err == nil && req.Method == method && method == http.MethodGet {
					resp.Body = flipped(resp.Body)
				}
				return resp, err
			})
			body := bytes.Repeat([]byte("0123456789"), 1000)
			method = http.MethodPut
			if _, err := s.Put(t.Context(), "k", body, objstore.IfAbsent); err == nil || errors.Is(err, objstore.ErrExists) {
				t.Errorf("Put of changed bytes: %v", err)
			} else {
				t.Log(err)
			}
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, bytes.Repeat(body, 600), 0o600); err != nil { // in parts
				t.Fatal(err)
			}
			if err := s.PutFile(t.Context(), "file", file); err == nil {
				t.Errorf("PutFile of changed bytes: %v", err)
			}
			method = ""
			if err := get(t, s); !errors.Is(err, objstore.ErrNotExist) {
				t.Errorf("after a refused Put: %v", err)
			}
			if _, err := s.Put(t.Context(), "k", body, objstore.IfAbsent); err != nil {
				t.Fatal(err)
			}
			method = http.MethodGet
			if err := get(t, s); (err == nil) != (checksums == "required") {
				t.Errorf("Get of changed bytes: %v", err)
			}
		})
	}
}

// TestHeaders looks at what goes along with requests.
func TestHeaders(t *testing.T) {
	for _, checksums := range []string{"always", "required"} {
		var mu sync.Mutex
		seen := make(map[string]http.Header)
		s := open(t, bucket.Options{
			Bucket: "zodb", Endpoint: "http://s3.invalid", AccessKey: "a", SecretKey: "b", Checksums: checksums,
			SSE: "aws:kms", KMSKey: "key-1",
			Transport: wire(func(req *http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				what := req.Method
				if req.URL.Query().Has("partNumber") {
					what = "part"
				}
				seen[what] = req.Header.Clone()
				resp := answer(req, 200, "")
				resp.Header.Set("ETag", `"1"`)
				if req.URL.Query().Has("uploads") {
					body := "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
					resp.Body = io.NopCloser(strings.NewReader(body))
					seen["create"] = req.Header.Clone()
				}
				return resp, nil
			}),
		})
		if _, err := s.Put(t.Context(), "k", []byte("123456789"), objstore.IfAbsent); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, make([]byte, 17<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = s.PutFile(t.Context(), "f", file)
		for what, h := range seen {
			if h.Get("X-Amz-Trailer") != "" || strings.Contains(h.Get("Content-Encoding"), "aws-chunked") {
				t.Errorf("%s has a trailer: %v", what, h)
			}
		}
		for _, what := range []string{http.MethodPut, "create"} {
			if h := seen[what]; h.Get("X-Amz-Server-Side-Encryption") != "aws:kms" || h.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != "key-1" {
				t.Errorf("%s: %v", what, h)
			}
		}
		put := seen[http.MethodPut]
		want := ""
		if checksums == "always" {
			want = "4waSgw==" // the check value of CRC-32C
		}
		if put.Get("X-Amz-Checksum-Crc32c") != want || put.Get("If-None-Match") != "*" {
			t.Errorf("%s: %v", checksums, put)
		}
		if sum := put.Get("X-Amz-Content-Sha256"); len(sum) != 64 {
			t.Errorf("the body is not signed: %q", sum)
		}
		if has := seen["part"].Get("X-Amz-Checksum-Crc32c") != ""; has != (checksums == "always") {
			t.Errorf("%s: part %v", checksums, seen["part"])
		}
	}
}

// TestLostAnswerToComplete: the second try finds no upload, and the object says whose it is.
func TestLostAnswerToComplete(t *testing.T) {
	server := tests3.Start(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 17<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, replaced := range []bool{false, true} {
		o := optionsOf(t, server)
		other := open(t, o)
		lost := false
		o.Transport = wire(func(req *http.Request) (*http.Response, error) {
			complete := req.Method == http.MethodPost && req.URL.Query().Has("uploadId")
			if complete && lost {
				return answer(req, 404, "NoSuchUpload"), nil
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if !complete || err != nil {
				return resp, err
			}
			lost = true
			resp.Body.Close()
			if replaced { // somebody puts something as large in its place
				if err := other.PutFile(req.Context(), "k", file); err != nil {
					t.Error(err)
				}
			}
			return nil, &net.OpError{Op: "read", Err: errLost}
		})
		if err := open(t, o).PutFile(t.Context(), "k", file); !lost || (err != nil) != replaced {
			t.Errorf("replaced %v: %v", replaced, err)
		}
	}
}

// TestStall: a server that accepts and says nothing does not hold anybody for ever.
func TestStall(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := open(t, bucket.Options{
		Bucket: "zodb", Endpoint: "http://" + l.Addr().String(), AccessKey: "a", SecretKey: "b", Timeout: 50 * time.Millisecond,
	})
	if _, err := s.Put(context.Background(), "k", []byte("x"), objstore.IfAbsent); err == nil || errors.Is(err, objstore.ErrExists) {
		t.Errorf("Put: %v", err)
	}
	if _, err := s.Put(context.Background(), "k", make([]byte, 64<<20), objstore.IfAbsent); err == nil { // more than the kernel's buffers take
		t.Errorf("large Put: %v", err)
	}
}

// TestRangeAnswers: a server's wrong answer to a range is an error.
func TestRangeAnswers(t *testing.T) {
	for _, test := range []struct {
		status int
		header string
		body   string
		ok     bool
	}{
		{206, "bytes 2-4/10", "234", true},
		{200, "", "0123456789", false}, // knows no ranges
		{206, "bytes 0-2/10", "012", false},
		{206, "bytes 2-5/10", "2345", false},
		{206, "bytes 2-4/10", "23", false},
		{206, "bytes 2-4/4", "234", false},
		{206, "bytes 2-4/*", "234", false},
		{206, "bytes x", "234", false},
		{206, "bytes 2-3/4", "23", true}, // the end of the object
	} {
		s := open(t, bucket.Options{
			Bucket: "zodb", Endpoint: "http://s3.invalid", AccessKey: "a", SecretKey: "b",
			Transport: wire(func(req *http.Request) (*http.Response, error) {
				if got := req.Header.Get("Range"); got != "bytes=2-4" {
					t.Errorf("asked for %q", got)
				}
				resp := answer(req, test.status, "")
				resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(test.body)), int64(len(test.body))
				resp.Header.Set("Content-Length", fmt.Sprint(len(test.body)))
				resp.Header.Set("ETag", `"1"`)
				if test.header != "" {
					resp.Header.Set("Content-Range", test.header)
				}
				return resp, nil
			}),
		})
		data, _, err := objstore.Read(t.Context(), s, "k", objstore.Range{Off: 2, Len: 3})
		if (err == nil) != test.ok || test.ok && string(data) != test.body {
			t.Errorf("%+v: %q %v", test, data, err)
		}
	}
}

func TestParseURL(t *testing.T) {
	o, rest, err := bucket.ParseURL("s3://zodb/a/b/?region=eu-central-1&profile=p&endpoint=https://h:9000&addressing=host&checksums=always" +
		"&sse=aws:kms&kms-key=k&ca-file=/ca.pem&timeout=3s&part-size=8388608&commit-window=100ms")
	want := bucket.Options{
		Bucket: "zodb", Prefix: "a/b", Region: "eu-central-1", Profile: "p", Endpoint: "https://h:9000", Addressing: "host",
		Checksums: "always", SSE: "aws:kms", KMSKey: "k", CAFile: "/ca.pem", Timeout: 3 * time.Second, PartSize: 8 << 20,
	}
	if err != nil || o != want || len(rest) != 1 || rest.Get("commit-window") != "100ms" {
		t.Errorf("%+v %v %v", o, rest, err)
	}
	for _, url := range []string{
		"", "s3:", "s3://", "s3:zodb", "http://zodb/", "s3://a b/", "s3://zodb/../x", "s3://key:secret@zodb/", "s3://zodb/#x",
		"s3://zodb/?endpoint=nowhere", "s3://zodb/?endpoint=ftp://x", "s3://zodb/?endpoint=http://key:secret@host",
		"s3://zodb/?timeout=5", "s3://zodb/?timeout=-5s", "s3://zodb/?sse=rot13",
		"s3://zodb/?addressing=none", "s3://zodb/?kms-key=k", "s3://zodb/?region=a&region=b", "s3://zodb/?part-size=1", "s3://zodb/?%zz",
	} {
		if o, _, err := bucket.ParseURL(url); err == nil {
			t.Errorf("%q: %+v", url, o)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the secret is in the error: %v", url, err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("s3://zodb/a/b?region=x&timeout=1s")
	f.Fuzz(func(t *testing.T, text string) {
		o, _, err := bucket.ParseURL(text)
		if err == nil && (o.Bucket == "" || o.Timeout <= 0 || objstore.CheckPrefix(o.Prefix) != nil) {
			t.Errorf("%q: %+v", text, o)
		}
	})
}

// TestCredentials: from the environment, and what is said when there are none.
func TestCredentials(t *testing.T) {
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "",
		"AWS_ENDPOINT_URL_S3": "http://s3.invalid", "AWS_CONFIG_FILE": filepath.Join(home, "config"),
	} {
		t.Setenv(name, value)
	}
	var auth, host string
	o := bucket.Options{Bucket: "zodb", Transport: wire(func(req *http.Request) (*http.Response, error) {
		auth, host = req.Header.Get("Authorization"), req.URL.Host
		return answer(req, 404, "NoSuchKey"), nil
	})}
	var e *objstore.Error
	if err := get(t, open(t, o)); !errors.As(err, &e) || !strings.Contains(e.Hint, "AWS_ACCESS_KEY_ID") {
		t.Errorf("without credentials: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "FROMENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	if err := get(t, open(t, o)); !errors.Is(err, objstore.ErrNotExist) || !strings.Contains(auth, "FROMENV/") || host != "s3.invalid" {
		t.Errorf("%v, sent %q to %q", err, auth, host)
	}
	profile := "[profile zari]\nregion = eu-north-1\naws_access_key_id = FROMFILE\naws_secret_access_key = x\n"
	if err := os.WriteFile(filepath.Join(home, "config"), []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Profile = "zari"
	if err := get(t, open(t, o)); !strings.Contains(auth, "FROMFILE/") || !strings.Contains(auth, "/eu-north-1/") {
		t.Errorf("%v, sent %q", err, auth)
	}
	t.Setenv("AWS_ENDPOINT_URL_S3", "")
	o.Profile = ""
	if err := get(t, open(t, o)); !errors.As(err, &e) || !strings.Contains(e.Hint, "region=") {
		t.Errorf("without a region: %v", err)
	}
	o.Region = "eu-central-1"
	if err := get(t, open(t, o)); host != "zodb.s3.eu-central-1.amazonaws.com" {
		t.Errorf("%v, sent to %q", err, host)
	}
}
