package testpg

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/zaridb/zari/internal/testserver"
)

// Standby starts a streaming copy of s that s waits for with every commit, from
// now on.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	copied, err := prepare(s.opts)
	testserver.Require(t, err)
	t.Cleanup(copied.Stop)
	if err := s.follow(copied); err != nil {
		t.Fatal(err)
	}
	return copied
}

func (s *Server) follow(standby *Server) error {
	_, err := standby.Tool("pg_basebackup", "-d", s.DSN("postgres"), "-D", standby.data(),
		"--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	if err != nil {
		return err
	}
	if err := standby.Run(); err != nil {
		return err
	}
	for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if err := s.Exec(sql); err != nil {
			return err
		}
	}
	return s.until("SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync'")
}

// Promote makes a standby a primary that takes writes.
func (s *Server) Promote() error {
	if _, err := s.Tool("pg_ctl", "promote", "-D", s.data()); err != nil {
		return err
	}
	// What it copied from its primary would make it wait for a standby of its own.
	for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()"} {
		if err := s.Exec(sql); err != nil {
			return err
		}
	}
	return s.until("SELECT NOT pg_is_in_recovery()")
}

// until returns when the query is true.
func (s *Server) until(query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	for {
		var ok bool
		if err := conn.QueryRow(ctx, query).Scan(&ok); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		if ok {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}
