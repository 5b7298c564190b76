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
