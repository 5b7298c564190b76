package testmysql_test

import (
	"database/sql"
	"errors"
	"os"
	"testing"

	"github.com/zaridb/zari/internal/testmysql"
)

func query(t *testing.T, dsn, query string) (answer string) {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(query).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

func TestDatabasesAreApart(t *testing.T) {
	a, b := testmysql.Database(t), testmysql.Database(t)
	if x, y := query(t, a, "SELECT DATABASE()"), query(t, b, "SELECT DATABASE()"); x == y {
		t.Errorf("two databases are both %s", x)
	}
}

func TestHaltKeepsData(t *testing.T) {
	s := testmysql.Start(t, testmysql.Options{Fsync: true, Settings: []string{"--max-allowed-packet=2M"}})
	dsn := s.Database(t)
	if got := query(t, dsn, "SELECT @@max_allowed_packet"); got != "2097152" {
		t.Errorf("max_allowed_packet = %s", got)
	}
	if err := s.Exec("CREATE TABLE mysql.kept (n INT PRIMARY KEY) ENGINE=InnoDB"); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []string{"TERM", "KILL"} {
		if err := s.Halt(signal); err != nil {
			t.Fatal(err)
		}
		if err := s.Exec("SELECT 1"); err == nil {
			t.Fatalf("after %s it still answers", signal)
		}
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		query(t, dsn, "SELECT COUNT(*) FROM mysql.kept")
	}
	s.Stop()
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is left: %v", err)
	}
}
