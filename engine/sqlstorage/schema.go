package sqlstorage

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// SchemaError says in what the tables of a database are not as they should be, and
// what to do.
type SchemaError struct {
	Database string
	Reason   string
}

func (e *SchemaError) Error() string { return e.Database + ": " + e.Reason }

// prepareSchema sees to it that all tables are there, or says what is wrong with
// them.
func prepareSchema(ctx context.Context, d Dialect, o Options) error {
	found, err := d.Objects(ctx)
	if err != nil {
		return err
	}
	if reason := mismatch(found, o.Form); reason != "" {
		return &SchemaError{d.Name(), reason}
	}
	if err := checkColumns(ctx, d, o.Form, found); err != nil {
		return err
	}
	missing := missingOf(d.Schema(o.Form), found)
	switch {
	case len(missing) == 0:
		return nil
	case o.ReadOnly:
		return readable(d, o.Form, found)
	case !o.Create:
		return &SchemaError{d.Name(), "there is no " + names(missing) + ": let create-schema be true once, or have somebody create them who may"}
	}
	return create(ctx, d, missing)
}

// mismatch tells why the tables that are there are not those of the form.
func mismatch(found map[string]bool, form Form) string {
	history := found["table transaction"] || found["table current_object"]
	switch {
	case !found["table object_state"] && !history:
		return "" // nothing is there
	case found["table transaction"] != found["table current_object"] || !found["table object_state"]:
		return "only some of the tables transaction, current_object and object_state are there: a schema was begun and not finished; drop the ones that are empty, or restore a backup"
	case form == Preserving && !history:
		return "the database is history-free (there is no table transaction): say keep-history false, or copy it into a new one"
	case form == Free && history:
		return "the database is history-preserving (there is a table transaction): say keep-history true, or copy it into a new one"
	case !found["table blob_chunk"]:
		return "there is no table blob_chunk: the schema is older than RelStorage 1.5; open the database with RelStorage once, as its notes on migration say"
	}
	return ""
}

// checkColumns finds the schema of RelStorage before 3, where a column had another
// name.
func checkColumns(ctx context.Context, d Dialect, form Form, found map[string]bool) error {
	if form != Preserving || !found["table transaction"] {
		return nil
	}
	err := d.Read(ctx, func(s Session) error {
		_, err := number(ctx, s, `SELECT COUNT(is_empty) FROM "transaction" WHERE tid < 0`)
		return err
	})
	if err != nil {
		return &SchemaError{d.Name(), fmt.Sprintf("the table transaction has no column is_empty: the schema is older than RelStorage 3; open the database with RelStorage 4 once (%v)", err)}
	}
	return nil
}

func missingOf(schema []Object, found map[string]bool) (missing []Object) {
	for _, o := range schema {
		if !found[o.Name] {
			missing = append(missing, o)
		}
	}
	return missing
}

// readable reports whether what is there suffices to read.
func readable(d Dialect, form Form, found map[string]bool) error {
	for _, table := range []string{"object_state", form.objects()} {
		if !found["table "+table] {
			return &SchemaError{d.Name(), "there is no table " + table + ": nothing to read from"}
		}
	}
	return nil
}

func names(list []Object) string {
	var all []string
	for _, o := range list {
		all = append(all, o.Name)
	}
	if len(all) > 6 {
		all = append(slices.Clip(all[:5]), fmt.Sprintf("%d more", len(all)-5))
	}
	return strings.Join(all, ", ")
}

// create creates what is missing, in one transaction where the database can.
func create(ctx context.Context, d Dialect, missing []Object) error {
	return d.Write(ctx, func(s Session) error {
		for _, o := range missing {
			for _, statement := range o.SQL {
				if _, err := s.Exec(ctx, statement); err != nil {
					return fmt.Errorf("%s: creating %s: %w", d.Name(), o.Name, err)
				}
			}
		}
		return nil
	})
}
