package main

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/zodb"
)

// served opens what zari serve does for a storage.
func served(t *testing.T, where string) *service {
	t.Helper()
	f := serveFlags{address: "127.0.0.1:0", metrics: "off"}
	cfg, err := f.load([]string{where})
	if err != nil {
		t.Fatal(err)
	}
	cfg.EventLog = &config.EventLog{}
	s := &service{cfg: cfg}
	t.Cleanup(func() { s.close() })
	if err := s.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// metricsOf returns what /metrics says, by name with labels.
func metricsOf(t *testing.T, s *service) map[string]float64 {
	t.Helper()
	w := httptest.NewRecorder()
	s.webHandler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	metrics := make(map[string]float64)
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("/metrics answers %d: %s", w.Code, line)
		}
		metrics[name] = n
	}
	return metrics
}

// awaitMetrics waits until metrics are as they should be.
func awaitMetrics(t *testing.T, s *service, what string, ok func(metrics map[string]float64) bool) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		metrics := metricsOf(t, s)
		if ok(metrics) {
			return
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("%s: %v", what, metrics)
		}
	}
}

// The counts of a server's caches are among its metrics.
func TestCacheMetrics(t *testing.T) {
	got := metricsOf(t, served(t, "sqlite://"+t.TempDir()+"?cache_local_mb=3&cache_servers=127.0.0.1:1"))
	for name, want := range map[string]float64{
		`zari_cache_hits_total{storage="1"}`: 0, `zari_cache_evictions_total{storage="1"}`: 0,
		`zari_cache_limit_bytes{storage="1"}`: 3 << 20, `zari_memcached_hits_total{storage="1"}`: 0,
	} {
		if n, ok := got[name]; !ok || n != want {
			t.Errorf("%s is %v, %v; want %v", name, n, ok, want)
		}
	}
	for _, name := range []string{`zari_cache_misses_total{storage="1"}`, `zari_cache_bytes{storage="1"}`} {
		if _, ok := got[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
}

// A SQL database's connections are shown, however deep it lies.
func TestPoolMetrics(t *testing.T) {
	dir := t.TempDir()
	got := metricsOf(t, served(t, "demo:(sqlite://"+dir+"/base?pool_size=3)/(sqlite://"+dir+"/changes)"))
	for name, want := range map[string]float64{
		`zari_database_connections_limit{database="sqlite:` + dir + `/base/main.sqlite3",pool="loads"}`:    3,
		`zari_database_connections_limit{database="sqlite:` + dir + `/changes/main.sqlite3",pool="loads"}`: 8,
		`zari_database_connections{database="sqlite:` + dir + `/base/main.sqlite3",pool="writes"}`:         1,
		`zari_database_connections_in_use{database="sqlite:` + dir + `/base/main.sqlite3",pool="writes"}`:  0,
	} {
		if n, ok := got[name]; !ok || n != want {
			t.Errorf("%s is %v, %v; want %v", name, n, ok, want)
		}
	}
}

// Caches of the same name are told apart, requests are added up.
func TestMetricsOfOneName(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "zeo.conf")
	writeText(t, conf, strings.ReplaceAll(`<zeo>
  address 127.0.0.1:0
  metrics-address off
</zeo>
<demostorage 1>
  <s3storage base>
    url s3dir://$dir/a
  </s3storage>
  <mappingstorage changes/>
</demostorage>
<demostorage 2>
  <s3storage base>
    url s3dir://$dir/b
    cache-size 3MB
  </s3storage>
  <mappingstorage changes/>
</demostorage>
`, "$dir", dir))
	cfg, err := (&serveFlags{config: conf}).load(nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.EventLog = &config.EventLog{}
	s := &service{cfg: cfg}
	defer s.close()
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := metricsOf(t, s)
	if a, b := got[`zari_cache_limit_bytes{storage="base"}`], got[`zari_cache_limit_bytes{storage="base#2"}`]; a != 256<<20 || b != 3<<20 {
		t.Errorf("two caches may take %v and %v bytes", a, b)
	}
	one := metricsOf(t, served(t, "s3dir://"+dir+"/c"))[`zari_s3_requests_total{kind="put",storage="1"}`]
	if two := got[`zari_s3_requests_total{kind="put",storage="base"}`]; one == 0 || two < 2*one {
		t.Errorf("%v puts into two stores, %v into one", two, one)
	}
	if _, ok := got[`zari_s3_requests_total{kind="put",storage="base#2"}`]; ok {
		t.Error("the second store of a name is told apart")
	}
}

// largeObjects makes a database of some objects that are not in a server's memory when it starts.
func largeObjects(t *testing.T, where string, n, size int) {
	t.Helper()
	st, err := storages.OpenURL(t.Context(), where, storages.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &sample{}
	for oid := range zodb.OID(n) { // enough for a checkpoint at the end
		s.commit(t, st, "", func(txn zodb.Txn) error { return txn.Store(t.Context(), oid, 0, make([]byte, size)) })
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustLoad(t *testing.T, s *service, oids ...zodb.OID) {
	t.Helper()
	for _, oid := range oids {
		if _, err := s.storages["1"].LoadBefore(t.Context(), oid, zodb.MaxTID); err != nil {
			t.Fatal(err)
		}
	}
}

// What the cache of blocks does is among the metrics: who loads sees them change.
func TestBlockCacheMetrics(t *testing.T) {
	const n, size = 40, 60_000
	where := "s3dir://" + t.TempDir()
	largeObjects(t, where, n, size)
	where += "?read-only=yes&cache-size=0&cache-dir-size=1MB&cache-dir=" + t.TempDir()
	const (
		misses  = `zari_s3_block_cache_misses_total{storage="1"}`
		hits    = `zari_s3_block_cache_hits_total{place="%",storage="1"}`
		evicted = `zari_s3_block_cache_evictions_total{place="%",storage="1"}`
		bytes   = `zari_s3_block_cache_bytes{place="%",storage="1"}`
	)
	of := func(metrics map[string]float64, name, place string) float64 {
		n, ok := metrics[strings.Replace(name, "%", place, 1)]
		if !ok {
			t.Fatalf("there is no %s of %s", name, place)
		}
		return n
	}
	s := served(t, where)
	for _, name := range []string{misses, hits, evicted, bytes} {
		for _, place := range []string{"memory", "disk"} {
			if got := of(metricsOf(t, s), name, place); got != 0 {
				t.Errorf("at the start %s of %s is %v", name, place, got)
			}
		}
	}
	mustLoad(t, s, 0, 0, 0)
	awaitMetrics(t, s, "after one object was loaded three times", func(m map[string]float64) bool {
		return of(m, misses, "") == 1 && of(m, hits, "memory") == 2 && of(m, hits, "disk") == 0 &&
			of(m, bytes, "memory") > size && of(m, bytes, "disk") > size && of(m, bytes, "disk") < 2*size
	})
	for oid := range zodb.OID(n) {
		mustLoad(t, s, oid)
	}
	awaitMetrics(t, s, "after all were", func(m map[string]float64) bool {
		return of(m, misses, "") == n && of(m, evicted, "disk") > 0 && of(m, evicted, "memory") == 0 &&
			of(m, bytes, "memory") > n*size && of(m, bytes, "disk") > 0
	})
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if _, there := metricsOf(t, s)[misses]; there {
		t.Error("a cache that was closed has figures")
	}
	again := served(t, where)
	mustLoad(t, again, n-1)
	awaitMetrics(t, again, "after a restart", func(m map[string]float64) bool {
		return of(m, misses, "") == 0 && of(m, hits, "disk") == 1 && of(m, bytes, "disk") > size
	})
}

// What is in a server's log and not in the bucket is among the metrics.
func TestBacklogMetrics(t *testing.T) {
	bucket := t.TempDir()
	s := served(t, "s3dir://"+bucket+"?log=local&log-dir="+t.TempDir())
	backlog := func(m map[string]float64) (txns, bytes, age float64) {
		txns, ok := m[`zari_s3_backlog_transactions{storage="1"}`]
		if !ok {
			t.Fatal("there is no backlog")
		}
		return txns, m[`zari_s3_backlog_bytes{storage="1"}`], m[`zari_s3_backlog_age_seconds{storage="1"}`]
	}
	isEmpty := func(m map[string]float64) bool {
		txns, bytes, age := backlog(m)
		return txns == 0 && bytes == 0 && age == 0
	}
	awaitMetrics(t, s, "at the start", isEmpty)

	log, away := filepath.Join(bucket, "log"), filepath.Join(bucket, "away")
	if err := os.Rename(log, away); err != nil {
		t.Fatal(err)
	}
	writeText(t, log, "the bucket takes nothing")
	sample := &sample{}
	for oid := range zodb.OID(3) {
		sample.commit(t, s.storages["1"], "", func(txn zodb.Txn) error { return txn.Store(t.Context(), oid, 0, make([]byte, 1000)) })
	}
	txns, bytes, age := backlog(metricsOf(t, s))
	if txns != 3 || bytes < 3000 || age <= 0 {
		t.Errorf("three transactions of a kilobyte wait: %v, %v bytes, since %v seconds", txns, bytes, age)
	}
	awaitMetrics(t, s, "a moment later", func(m map[string]float64) bool {
		_, _, later := backlog(m)
		return later > age
	})

	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, log); err != nil {
		t.Fatal(err)
	}
	awaitMetrics(t, s, "when the bucket takes them", isEmpty)
	if _, there := metricsOf(t, served(t, "s3dir://"+t.TempDir()))[`zari_s3_backlog_bytes{storage="1"}`]; there {
		t.Error("a log in the bucket has a backlog")
	}
}
