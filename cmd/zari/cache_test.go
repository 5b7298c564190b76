package main

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/zaridb/zari/config"
)

// The counts of a server's caches are among its metrics.
func TestCacheMetrics(t *testing.T) {
	f := serveFlags{address: "127.0.0.1:0", metrics: "off"}
	cfg, err := f.load([]string{"sqlite://" + t.TempDir() + "?cache_local_mb=3&cache_servers=127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	cfg.EventLog = &config.EventLog{}
	s := &service{cfg: cfg}
	defer s.close()
	if err := s.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.webHandler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text := w.Body.String()
	for _, want := range []string{
		`zari_cache_hits_total{storage="1"} 0`, `zari_cache_misses_total{storage="1"}`, `zari_cache_evictions_total{storage="1"} 0`,
		`zari_cache_limit_bytes{storage="1"} 3.145728e+06`, `zari_cache_bytes{storage="1"}`, `zari_memcached_hits_total{storage="1"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
}
