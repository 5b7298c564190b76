package testpg_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/zaridb/zari/internal/testpg"
)

func query(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var s string
	if err := conn.QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}

func exec(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestDatabasesAreApart(t *testing.T) {
	a, b := testpg.Database(t), testpg.Database(t)
	exec(t, a, "CREATE TABLE x ()")
	if got := query(t, b, "SELECT count(*)::text FROM pg_tables WHERE tablename = 'x'"); got != "0" {
		t.Errorf("a second database has %s tables of the first", got)
	}
}

func TestFsync(t *testing.T) {
	s := testpg.Start(t, testpg.Options{Fsync: true})
	if got := query(t, s.DSN("postgres"), "SHOW fsync"); got != "on" {
		t.Errorf("fsync = %s, want on", got)
	}
}

func TestHaltKeepsData(t *testing.T) {
	s := testpg.Start(t, testpg.Options{})
	dsn := s.Database(t)
	query(t, dsn, "SELECT 'there'")
	for _, signal := range []string{"INT", "QUIT"} {
		if err := s.Halt(signal); err != nil {
			t.Fatal(err)
		}
		if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
			conn.Close(context.Background())
			t.Fatalf("after %s it still answers", signal)
		}
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		query(t, dsn, "SELECT 'still there'")
	}
	s.Stop()
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is left: %v", err)
	}
}

func TestStandbyHasWhatWasCommitted(t *testing.T) {
	primary := testpg.Start(t, testpg.Options{})
	standby := primary.Standby(t)
	if err := primary.Exec("CREATE TABLE kept AS SELECT 'kept'::text AS v"); err != nil {
		t.Fatal(err)
	}
	if err := primary.Halt("QUIT"); err != nil {
		t.Fatal(err)
	}
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	if got := query(t, standby.DSN("postgres"), "SELECT v FROM kept"); got != "kept" {
		t.Errorf("the standby has %q", got)
	}
	if err := standby.Exec("CREATE TABLE more()"); err != nil {
		t.Errorf("the promoted standby takes no writes: %v", err)
	}
}
