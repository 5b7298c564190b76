package main

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/zaridb/zari/config"
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
