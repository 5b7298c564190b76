package sqlstorage

import (
	"context"
	"strings"
)

// tables are RelStorage's, in an order in which they can be emptied: none comes
// after one that it refers to.
var tables = []string{
	"blob_chunk", "object_ref", "object_refs_added", "pack_object", "pack_state", "pack_state_tid",
	"current_object", "object_state", "transaction",
}

// clear removes all objects and transactions, blobs included, and makes it another
// database, with a UUID of its own. The row of transaction 0, which is no transaction,
// stays, and so do the numbers of oids that were handed out.
func (e *Engine) clear(ctx context.Context, objects map[string]bool) error {
	err := e.db.Write(ctx, func(s Session) error {
		for _, table := range tables {
			if err := empty(ctx, s, table, objects); err != nil {
				return err
			}
		}
		for name := range objects {
			if table, ok := strings.CutPrefix(name, "table "); ok && strings.HasPrefix(table, "zari_") && table != "zari_meta" {
				if err := empty(ctx, s, table, objects); err != nil {
					return err
				}
			}
		}
		_, err := s.Exec(ctx, updateMeta, []byte{}, int64(0), int64(0))
		return err
	})
	if err != nil || e.blobs == nil {
		return err
	}
	for id, err := range e.blobs.dir.All() {
		if err != nil {
			return err
		}
		if err := e.blobs.dir.Remove(id.OID, id.TID); err != nil {
			return err
		}
	}
	return nil
}

func empty(ctx context.Context, s Session, table string, objects map[string]bool) error {
	if !objects["table "+table] {
		return nil
	}
	statement := `DELETE FROM "` + table + `"`
	if table == "transaction" {
		statement += ` WHERE tid <> 0`
	}
	_, err := s.Exec(ctx, statement)
	return err
}
