package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/internal/roster"
	"github.com/zaridb/zari/resolve"
	"github.com/zaridb/zari/storages"
)

// newS3Sample makes a database in a directory in the form of a bucket, and returns its URL.
func newS3Sample(t *testing.T) (url, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "bucket")
	url = "s3dir://" + dir
	zariOK(t, "copy", newSample(t, t.TempDir()).path, url+"?blob-dir="+t.TempDir())
	return url, dir
}

func TestS3Examples(t *testing.T) {
	url, _ := newS3Sample(t)
	t.Chdir(t.TempDir())
	writeText(t, "prices.json", zariOK(t, "s3", "cost", "--print-prices"))
	metrics := fakeMetrics(t)
	for _, examples := range []string{s3StatusExample, s3VerifyExample, s3CostExample} {
		runExamples(t, examples, "'s3://zodb/plone?region=eu-central-1'", url, "s3dir:///srv/plone", url,
			"http://127.0.0.1:8102/metrics", metrics, "10m", "1ms")
	}
}

func TestS3StatusOfFront(t *testing.T) {
	url, _ := newS3Sample(t)
	local, err := storages.OpenURL(t.Context(), url+"?log=local&log-dir="+t.TempDir(), storages.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	if out := zariOK(t, "s3", "status", url); !strings.Contains(out, "goes on in ") || !strings.Contains(out, " (local), log ") {
		t.Errorf("nothing of the log that it goes on in:\n%s", out)
	}
}

func TestS3Status(t *testing.T) {
	url, _ := newS3Sample(t)
	out := zariOK(t, "s3", "status", url)
	for _, want := range []string{"5 transactions", "in the bucket: slots 1 to ", "gave the lease up", "packed to   never", "blobs                                1      20 bytes"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	var s struct {
		Transactions int
		Blobs, Total struct{ Objects, Bytes int64 }
	}
	if err := json.Unmarshal([]byte(zariOK(t, "s3", "status", "--json", url)), &s); err != nil {
		t.Fatal(err)
	}
	if s.Transactions != 5 || s.Blobs.Objects != 1 || s.Blobs.Bytes != 20 || s.Total.Objects < 5 {
		t.Errorf("the status is %+v", s)
	}
}

func TestS3VerifyExitStatus(t *testing.T) {
	url, dir := newS3Sample(t)
	out := zariOK(t, "s3", "verify", "--strict", url)
	if !strings.Contains(out, "0 errors, 0 warnings, ") || !strings.Contains(out, "5 transactions with ") {
		t.Errorf("verify prints\n%s", out)
	}
	writeText(t, filepath.Join(dir, "mine"), "x")
	if code, out, _ := zari(t, "s3", "verify", "--strict", url); code != exitFailure || !strings.Contains(out, "warning: mine: ") {
		t.Errorf("with a foreign file: exit status %d\n%s", code, out)
	}
	more := sample{path: url + "?blob-dir=" + t.TempDir()}
	more.more(t)
	logs, err := filepath.Glob(filepath.Join(dir, "log", "*"))
	if err != nil || len(logs) < 2 {
		t.Fatalf("%d log objects, %v", len(logs), err)
	}
	if err := os.Remove(logs[1]); err != nil {
		t.Fatal(err)
	}
	code, out, _ := zari(t, "s3", "verify", "--json", url)
	if code != exitFailure || !strings.Contains(out, `"key":"log/`+filepath.Base(logs[1])+`"`) {
		t.Errorf("with a slot missing: exit status %d\n%s", code, out)
	}
	for _, args := range [][]string{
		{"s3", "verify", "Data.fs"}, {"s3", "status"}, {"s3", "nonsense"}, {"s3", "cost", "--store", "nonsense", url},
		{"s3", "cost", "--prices", "/nowhere", url}, {"s3", "verify", url + "?at=now"}, {"branch", url},
		{"branch", "--drop", "--forget", "x", url}, {"branch", "--forget", "x", url},
	} {
		if code, _, errOut := zari(t, args...); code != exitUsage {
			t.Errorf("zari %v: exit status %d, %s", args, code, errOut)
		}
	}
	if code, _, errOut := zari(t, "s3", "status", "s3dir://"+t.TempDir()); code != exitFailure {
		t.Errorf("of no database: exit status %d, %s", code, errOut)
	}
}

// fakeMetrics serves what a server with a storage in S3 tells Prometheus, later more.
func fakeMetrics(t *testing.T) string {
	t.Helper()
	puts := 1000
	began := time.Now().Add(-time.Hour)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# HELP x y\nprocess_start_time_seconds %.3f\n", float64(began.UnixMilli())/1e3)
		fmt.Fprintf(w, "%s{kind=\"put\",storage=\"1\"} %d\n%s{kind=\"get\",storage=\"1\"} 1e+06\n", requestsMetric, puts, requestsMetric)
		fmt.Fprintf(w, "%s{kind=\"put\",storage=\"other\"} 77\n%s{direction=\"read\",storage=\"1\"} 5e+09\n", requestsMetric, bytesMetric)
		puts += 10
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestS3Cost(t *testing.T) {
	url, _ := newS3Sample(t)
	cost := func(args ...string) (c s3Cost) {
		t.Helper()
		if err := json.Unmarshal([]byte(zariOK(t, append([]string{"s3", "cost", "--json"}, append(args, url)...)...)), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := cost()
	if c.From != "log" || len(c.Days) == 0 || c.Counts.Put < 4 || c.Stored == 0 || c.Month.Put == 0 || c.Month.Get != 0 || c.Month.Total < c.Month.Put {
		t.Errorf("from the log: %+v", c)
	}
	c = cost("--metrics", fakeMetrics(t), "--sample", "0")
	if c.From != "metrics" || c.Counts.Put != 1000 || c.Counts.Get != 1e6 || c.Counts.BytesOut != 5e9 || c.Seconds < 3590 || c.Seconds > 3700 {
		t.Errorf("since the start: %+v", c)
	}
	c = cost("--metrics", fakeMetrics(t), "--sample", "10ms", "--store", "s3-standard-internet")
	if c.Counts.Put != 10 || c.Counts.Get != 0 || c.Prices.Name != "s3-standard-internet" {
		t.Errorf("over a moment: %+v", c)
	}
	if code, _, errOut := zari(t, "s3", "cost", "--metrics", fakeMetrics(t), "--sample", "0", "--storage", "2", url); code != exitFailure || !strings.Contains(errOut, `"2"`) {
		t.Errorf("another storage: exit status %d, %s", code, errOut)
	}
}

// The requests of storages in S3 are among the metrics, and zari s3 cost finds them.
func TestRequestMetrics(t *testing.T) {
	s := &service{resolver: resolve.New(resolve.Options{})}
	var c objstore.Meter
	c.Put.Store(3)
	c.BytesOut.Store(12345678)
	page := s.roster.Page("main")
	page.Add(&c)
	page.Add(&c) // as a branch, which has two stores
	recorder := httptest.NewRecorder()
	s.webHandler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	got, err := readMetrics(recorder.Body, "main", time.Now())
	if err != nil || got.counts.Put != 6 || got.counts.BytesOut != 2*12345678 || got.up <= 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestBranchCommand(t *testing.T) {
	url, _ := newS3Sample(t)
	to, blobs := "s3dir://"+filepath.Join(t.TempDir(), "branch"), "?blob-dir="+t.TempDir()
	// What is in the log is copied, so there is something to share once it has been moved.
	zariOK(t, "pack", "--to", "2001-01-01", url+blobs)
	out := zariOK(t, "branch", url, to)
	if !strings.Contains(out, "shared  1 segment, 1 blob") {
		t.Errorf("branch prints\n%s", out)
	}
	zariOK(t, "diff", url+blobs, to+"?blob-dir="+t.TempDir())
	zariOK(t, "s3", "verify", "--strict", to)
	zariOK(t, "s3", "verify", "--strict", url)
	if out := zariOK(t, "s3", "status", url); !strings.Contains(out, "branch      "+to) {
		t.Errorf("the status has no branch:\n%s", out)
	}
	if out := zariOK(t, "s3", "status", to); !strings.Contains(out, "branch of   "+url) {
		t.Errorf("the status of the branch does not say so:\n%s", out)
	}
	var r roster.Roster
	s, err := storages.OpenURL(t.Context(), to, storages.Options{Roster: &r})
	if err != nil {
		t.Fatal(err)
	}
	stores := 0
	for range roster.All[objstore.Counting](&r) {
		stores++
	}
	if stores != 2 {
		t.Errorf("the requests of %d stores are counted, want those of the branch and its original", stores)
	}
	if code, _, errOut := zari(t, "branch", "--drop", to); code != exitFailure || !strings.Contains(errOut, "a server writes") {
		t.Errorf("dropping under a server: exit status %d, %s", code, errOut)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	zariOK(t, "branch", "--drop", to)
	if code, _, _ := zari(t, "s3", "status", to); code != exitFailure {
		t.Error("the dropped branch has a status")
	}
	if out := zariOK(t, "s3", "status", url); strings.Contains(out, "branch") {
		t.Errorf("after the drop:\n%s", out)
	}
	if code, _, errOut := zari(t, "branch", "--at", "2001-01-01", url, to); code != exitFailure {
		t.Errorf("before the beginning: exit status %d, %s", code, errOut)
	}
}
