package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/internal/roster"
	"github.com/zaridb/zari/resolve"
	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/zeo/server"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// service is a running `zari serve`.
type service struct {
	cfg      *config.Config
	readOnly bool // storages are opened such that nothing can be written
	drain    time.Duration

	logs     *config.Logs
	log      *slog.Logger
	resolver *resolve.Resolver
	roster   roster.Roster
	storages map[string]zodb.Storage
	server   *server.Server
	tls      *server.TLS
	listener net.Listener
	web      *http.Server
	ready    atomic.Bool
	signals  chan os.Signal
	closers  []func() error
}

// open opens everything, in the order in which it is needed. What was opened
// before an error is closed by close.
func (s *service) open(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		s.openLogs, s.openMetrics, s.openStorages, s.openTLS, s.openSignals, s.openListener, s.openServer, s.writePID,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	debug.FreeOSMemory() // what reading indexes left behind
	return nil
}

// close closes everything in the reverse order.
func (s *service) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

func (s *service) onClose(fn func() error) { s.closers = append(s.closers, fn) }

func (s *service) openLogs(context.Context) error {
	logs, err := s.cfg.EventLog.Open()
	if err != nil {
		return usageError{err}
	}
	s.logs, s.log = logs, slog.New(logs.Handler)
	s.onClose(logs.Close)
	s.resolver = resolve.New(resolve.Options{
		LeaveToClients: s.cfg.ZEO.ClientConflictResolution, MergeSplits: s.cfg.ZEO.MergeSplits, Logger: s.log,
	})
	for _, n := range s.cfg.Notes {
		s.log.Warn(n.String())
	}
	return nil
}

func (s *service) openStorages(ctx context.Context) error {
	s.storages = make(map[string]zodb.Storage)
	opts := storages.Options{
		ReadOnly: s.readOnly, TxnMemory: s.cfg.ZEO.MaxTransactionMemory, Logger: s.log, Resolver: s.resolver, Survive: true,
		Caches: true, Roster: &s.roster,
		Progress: everyFew(func(storage, what string, percent int64) {
			s.log.Info("working", "storage", storage, "what", what, "percent", percent)
		}),
	}
	opened, err := storages.OpenAll(ctx, s.cfg.Storages, opts)
	if err != nil {
		return err
	}
	for i, st := range opened {
		s.storages[s.cfg.Storages[i].StorageName()] = st
		s.onClose(st.Close)
	}
	return nil
}

func (s *service) openTLS(context.Context) error {
	c := s.cfg.ZEO.SSL
	if c == nil {
		return nil
	}
	t, err := server.NewTLS(server.TLSFiles{
		Certificate: c.Certificate, Key: c.Key, Authenticate: c.Authenticate, SystemRoots: c.SystemRoots,
	})
	if err != nil {
		return fmt.Errorf("%v: %w", c.Pos, err)
	}
	s.tls = t
	return nil
}

// openSignals takes over what signals mean, before anybody can see that the server
// is there. Until then one ends the process at once, which loses nothing.
func (s *service) openSignals(context.Context) error {
	s.signals = make(chan os.Signal, 8)
	signal.Notify(s.signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
	s.onClose(func() error {
		signal.Stop(s.signals)
		return nil
	})
	return nil
}

func (s *service) openListener(context.Context) error {
	a := s.cfg.ZEO.Address
	if a.Path != "" {
		if err := removeStaleSocket(a.Path); err != nil {
			return err
		}
	}
	l, err := net.Listen(a.Network(), a.String())
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	if s.tls != nil {
		l = tls.NewListener(l, s.tls.Config())
	}
	s.listener = l
	s.onClose(func() error {
		l.Close()
		return nil
	})
	return nil
}

// removeStaleSocket removes a Unix socket that nobody listens on any more.
func removeStaleSocket(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return fmt.Errorf("%s: another server is listening there", path)
	}
	return os.Remove(path)
}

func (s *service) openServer(context.Context) error {
	z := s.cfg.ZEO
	codec := wire.Pickle
	if z.Msgpack {
		codec = wire.Msgpack
	}
	srv, err := server.New(server.Options{
		Storages: s.storages, Find: s.findView(), MaxExtra: z.MaxViews, ReadOnly: z.ReadOnly, Codec: codec,
		InvalidationQueueSize: z.InvalidationQueueSize, InvalidationAge: z.InvalidationAge,
		TransactionTimeout: z.TransactionTimeout, MaxFrame: int(z.MaxFrameSize), MaxConnections: z.MaxConnections,
		MaxIterators: z.MaxIterators, MaxQueue: int(z.MaxQueueSize), SlowCommit: z.SlowCommit,
		SlowLoads: s.hasSlowStorage(), Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.server = srv
	s.onClose(srv.Close)
	return nil
}

// findView finds views of the storages as they were, if there may be any.
func (s *service) findView() server.Find {
	if s.cfg.ZEO.MaxViews == 0 {
		return nil
	}
	return storages.Views{Storages: s.storages, Now: time.Now}.Find
}

// hasSlowStorage reports whether loads from a storage wait for something else
// than this machine.
func (s *service) hasSlowStorage() bool {
	for _, c := range s.cfg.Storages {
		for part := range config.All(c) {
			switch part := part.(type) {
			case *config.ClientStorage, *config.DelayedStorage:
				return true
			case *config.S3Storage:
				if strings.HasPrefix(part.URL, "s3:") {
					return true
				}
			case *config.RelStorage:
				if _, local := part.SQL.(*config.SQLite); !local {
					return true
				}
			}
		}
	}
	return false
}

func (s *service) writePID(context.Context) error {
	path := s.cfg.ZEO.PIDFilename
	if path == "" {
		return nil
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		s.log.Error("cannot write the pid file", "err", err) // as Python's server: no reason not to serve
		return nil
	}
	s.onClose(func() error { return os.Remove(path) })
	return nil
}

// run serves until a signal ends it.
func (s *service) run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(s.listener) }()
	s.log.Info("listening", "address", s.listener.Addr().String(), "storages", fmt.Sprint(s.server.Storages()), "pid", os.Getpid())
	s.ready.Store(true)
	for {
		select {
		case err := <-served:
			return err
		case sig := <-s.signals:
			if sig == syscall.SIGTERM || sig == syscall.SIGINT {
				return s.end(ctx, sig)
			}
			s.reopen()
		}
	}
}

// end lets voted transactions finish. A second signal cuts it short.
func (s *service) end(ctx context.Context, sig os.Signal) error {
	s.ready.Store(false)
	s.log.Info("shutting down: voted transactions may finish", "signal", sig.String(), "at_most", s.drain)
	ctx, cancel := context.WithTimeout(ctx, s.drain)
	defer cancel()
	go func() {
		for sig := range s.signals {
			if sig == syscall.SIGTERM || sig == syscall.SIGINT {
				cancel()
				return
			}
		}
	}()
	if err := s.server.Drain(ctx); err != nil {
		s.log.Warn("cut short: what had voted but not finished was aborted")
	}
	s.log.Info("server stopped")
	return s.close()
}

// reopen opens log files anew and reads certificates again.
func (s *service) reopen() {
	if err := s.logs.Reopen(); err != nil {
		s.log.Error("cannot reopen logs", "err", err)
	}
	if s.tls == nil {
		s.log.Info("logs reopened")
		return
	}
	if err := s.tls.Reload(); err != nil {
		s.log.Error("certificates stay as they were", "err", err)
		return
	}
	s.log.Info("logs reopened, certificates read")
}
