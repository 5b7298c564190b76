package sqlite

import (
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
)

func open(t testing.TB, dir string) *DB {
	t.Helper()
	d, err := Open(t.Context(), Options{Dir: dir, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestValues(t *testing.T) {
	d := open(t, t.TempDir())
	err := d.Read(t.Context(), func(s sqlstorage.Session) error {
		for row, err := range s.Query(t.Context(), `SELECT ?, NULL, x'', 'text', ?, NULL, NULL`, []byte{}, true) {
			if err != nil {
				return err
			}
			var empty, null, alsoEmpty, text []byte
			var yes, no bool
			n := int64(7)
			if err := row.Scan(&empty, &null, &alsoEmpty, &text, &yes, &no, &n); err != nil {
				return err
			}
			if empty == nil || len(empty) > 0 || null != nil || alsoEmpty == nil || string(text) != "text" || !yes || no || n != 0 {
				t.Errorf("%v %v %v %q %v %v %d", empty, null, alsoEmpty, text, yes, no, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Every commit is synced unless an operator wants it otherwise; what an operator sets
// is no way to run statements.
func TestPragmas(t *testing.T) {
	ctx := t.Context()
	setting := func(d *DB, p *pool, name string) (n int64) {
		err := p.lend(ctx, func(s *session) (err error) {
			n, err = s.number(ctx, "PRAGMA "+name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	dir := t.TempDir()
	d := open(t, dir)
	if full, keys := setting(d, d.writer, "synchronous"), setting(d, d.writer, "foreign_keys"); full != 2 || keys != 1 {
		t.Errorf("synchronous=%d foreign_keys=%d", full, keys)
	}
	if only := setting(d, d.readers, "query_only"); only != 1 {
		t.Errorf("readers may write")
	}
	d.Close()
	d, err := Open(ctx, Options{Dir: dir, Pragmas: map[string]string{"synchronous": "normal", "query_only": "0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if normal := setting(d, d.writer, "synchronous"); normal != 1 {
		t.Errorf("synchronous=%d, an operator wants 1", normal)
	}
	if only := setting(d, d.readers, "query_only"); only != 1 {
		t.Errorf("readers may write")
	}
	for name, value := range map[string]string{"cache_size(1); DROP TABLE x": "1", "cache_size": "1); DROP TABLE x"} {
		if _, err := Open(ctx, Options{Dir: dir, Pragmas: map[string]string{name: value}}); err == nil {
			t.Errorf("%q = %q is accepted", name, value)
		}
	}
}
