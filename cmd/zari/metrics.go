package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// openMetrics starts the second port: metrics and health. It is opened first, so
// that a server that rebuilds an index is seen to be alive.
func (s *service) openMetrics(context.Context) error {
	if s.cfg.ZEO.NoMetrics {
		return nil
	}
	addr := defaultMetrics
	if s.cfg.ZEO.MetricsAddress != nil {
		addr = s.cfg.ZEO.MetricsAddress.String()
	}
	l, err := net.Listen("tcp", addr)
	if err != nil && s.cfg.ZEO.MetricsAddress == nil {
		s.log.Warn("no metrics: their usual address is taken; see --metrics-address", "address", addr, "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	s.web = &http.Server{Handler: s.webHandler(), ReadHeaderTimeout: 10 * time.Second}
	go s.web.Serve(l)
	s.onClose(func() error {
		err := s.web.Close()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		return err
	})
	s.log.Info("metrics", "address", "http://"+l.Addr().String()+"/metrics")
	return nil
}

func (s *service) webHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var once sync.Once // the server exists only later
	registry.MustRegister(conflictMetrics{s.resolver})
	registry.MustRegister(partMetrics(&s.roster)...)
	mux := http.NewServeMux()
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if s.ready.Load() {
			once.Do(func() { registry.MustRegister(s.server) })
		}
		metrics.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /conflicts", s.writeConflicts)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			http.Error(w, "not ready: starting or shutting down", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	return mux
}
