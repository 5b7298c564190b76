package postgres_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/internal/testpg"
)

// What only one of the two makes: our tables and triggers, and functions, of which
// RelStorage has more.
var (
	ours      = regexp.MustCompile(`zari_`)
	functions = regexp.MustCompile(`(?s)CREATE FUNCTION.*?\n\s*(END )?\$\$;|COMMENT ON FUNCTION[^\n]*`)
	random    = regexp.MustCompile(`^\\(un)?restrict `)
)

// dump is the schema of a database as statements of pg_dump, sorted, with the rows
// that every database has.
func dump(t *testing.T, s *testpg.Server, dsn string) (list []string) {
	t.Helper()
	out, err := s.Tool("pg_dump", "--no-owner", "--inserts", "--exclude-table=zari_*", "-d", dsn)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "--") && !random.MatchString(line) {
			lines = append(lines, line)
		}
	}
	for statement := range strings.SplitSeq(functions.ReplaceAllString(strings.Join(lines, ""), ""), "\n\n\n") {
		statement = strings.TrimSpace(statement)
		if statement != "" && !ours.MatchString(statement) {
			list = append(list, statement)
		}
	}
	slices.Sort(list)
	return list
}

func TestSchemaIsRelStorages(t *testing.T) {
	s := testpg.Start(t, testpg.Options{})
	for _, form := range forms {
		t.Run(word(form), func(t *testing.T) {
			dsn := s.Database(t)
			create(t, open(t, postgres.Options{DSN: dsn, Shared: true}), form)
			mine := dump(t, s, dsn)

			dsn2 := s.Database(t)
			runRelstorage(t, "create", dsn2, word(form))
			if diff := cmp.Diff(dump(t, s, dsn2), mine); diff != "" {
				t.Errorf("RelStorage's schema (-) and ours (+):\n%s", diff)
			}
			if len(mine) < 15 {
				t.Errorf("only %d statements were compared: %q", len(mine), mine)
			}

			// RelStorage opens ours, and adds what it is missing.
			runRelstorage(t, "create", dsn, word(form))
			if diff := cmp.Diff(mine, dump(t, s, dsn)); diff != "" {
				t.Errorf("RelStorage has changed our schema:\n%s", diff)
			}
		})
	}
}

func TestObjectsFindsTheWholeSchema(t *testing.T) {
	eachForm(t, postgres.Options{Shared: true}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		there, err := db.Objects(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range db.Schema(form) {
			if !there[object.Name] {
				t.Errorf("%s is not found after it was made", object.Name)
			}
		}
	})
}
