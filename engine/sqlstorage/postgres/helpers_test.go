package postgres_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/internal/testpg"
)

var forms = []sqlstorage.Form{sqlstorage.Preserving, sqlstorage.Free}

// word is the form as testdata/peer.py calls it.
func word(form sqlstorage.Form) string {
	if form == sqlstorage.Free {
		return "free"
	}
	return "preserving"
}

// eachForm runs a test on a database of each form, with its schema in place.
func eachForm(t *testing.T, opts postgres.Options, test func(t *testing.T, db *postgres.DB, form sqlstorage.Form)) {
	for _, form := range forms {
		t.Run(word(form), func(t *testing.T) {
			opts := opts
			opts.DSN = testpg.Database(t)
			db := open(t, opts)
			create(t, db, form)
			test(t, db, form)
		})
	}
}

func open(t testing.TB, opts postgres.Options) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// create makes what is missing of the schema, as the core does.
func create(t testing.TB, db *postgres.DB, form sqlstorage.Form) {
	t.Helper()
	there, err := db.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(s sqlstorage.Session) error {
		for _, object := range db.Schema(form) {
			if there[object.Name] {
				continue
			}
			for _, sql := range object.SQL {
				if _, err := s.Exec(t.Context(), sql); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// run executes statements on a connection of their own.
func run(t testing.TB, dsn string, statements ...string) {
	t.Helper()
	conn := connect(t, dsn)
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	conn.Close(context.Background())
}

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// query returns the one value that a query answers.
func query[T any](t testing.TB, dsn, sql string, args ...any) T {
	t.Helper()
	conn := connect(t, dsn)
	defer conn.Close(context.Background())
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

var python = sync.OnceValue(func() string {
	name := os.Getenv("ZARI_PYTHON")
	if name == "" {
		name = "python3"
	}
	if exec.Command(name, "-c", "import relstorage, psycopg2").Run() != nil {
		return ""
	}
	return name
})

// relstorage returns a command of testdata/peer.py.
func relstorage(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	switch {
	case python() != "":
	case os.Getenv("CI") == "true":
		t.Fatal("ZARI_PYTHON has no RelStorage")
	default:
		t.Skip("ZARI_PYTHON has no RelStorage (make venv)")
	}
	cmd := exec.CommandContext(t.Context(), python(), append([]string{"-u", "testdata/peer.py"}, args...)...)
	cmd.Stderr = new(bytes.Buffer)
	return cmd
}

// runRelstorage runs such a command and returns what it prints.
func runRelstorage(t testing.TB, args ...string) string {
	t.Helper()
	cmd := relstorage(t, args...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("peer.py %v: %v\n%s%s", args, err, out, cmd.Stderr)
	}
	return string(out)
}
