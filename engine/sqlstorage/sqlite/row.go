package sqlite

import (
	"database/sql"
	"fmt"
)

// row is a row of a query. SQLite's columns hold values of any type, whatever the
// schema says: so each value is looked at as it comes.
type row struct{ rows *sql.Rows }

// Scan implements sqlstorage.Row.
func (r row) Scan(dest ...any) error {
	var room [8]value
	values := room[:0]
	if len(dest) > len(room) {
		values = make([]value, 0, len(dest))
	}
	pointers := make([]any, len(dest))
	for i, d := range dest {
		values = append(values, value{d})
		pointers[i] = &values[i]
	}
	return r.rows.Scan(pointers...)
}

// value is a place for one value.
type value struct{ dest any }

// Scan implements sql.Scanner. The driver makes bytes anew for every value, so they
// are kept as they are.
func (v *value) Scan(src any) error {
	switch dest := v.dest.(type) {
	case *int64:
		return scanInt(dest, src)
	case *bool:
		var n int64
		err := scanInt(&n, src)
		*dest = n != 0
		return err
	case *string:
		b, err := scanBytes(src)
		*dest = string(b)
		return err
	case *[]byte:
		b, err := scanBytes(src)
		*dest = b
		return err
	}
	return fmt.Errorf("cannot scan into a %T", v.dest)
}

func scanInt(dest *int64, src any) error {
	switch v := src.(type) {
	case nil:
		*dest = 0
	case int64:
		*dest = v
	default:
		return fmt.Errorf("there is a value of type %T where a number belongs", src)
	}
	return nil
}

// scanBytes returns nil for NULL only.
func scanBytes(src any) ([]byte, error) {
	switch v := src.(type) {
	case nil:
		return nil, nil
	case []byte:
		if v == nil {
			v = []byte{}
		}
		return v, nil
	case string:
		return append([]byte{}, v...), nil
	}
	return nil, fmt.Errorf("there is a value of type %T where bytes belong", src)
}
