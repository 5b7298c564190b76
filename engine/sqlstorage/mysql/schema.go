package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/zaridb/zari/engine/sqlstorage"
)

// RelStorage's tables, column by column as its version 4 makes them, with its mixture
// of signed and unsigned numbers. MySQL knows no deferred rows and no transactions
// around DDL, so the tables that must have a row are made together with it.
const (
	createCommitRowLock = `CREATE TABLE commit_row_lock (tid BIGINT UNSIGNED NOT NULL PRIMARY KEY) ENGINE=InnoDB SELECT 0 AS tid`

	createTransaction = `CREATE TABLE "transaction" (
	tid         BIGINT UNSIGNED NOT NULL PRIMARY KEY,
	packed      BOOLEAN NOT NULL DEFAULT FALSE,
	is_empty    BOOLEAN NOT NULL DEFAULT FALSE,
	username    BLOB NOT NULL,
	description BLOB NOT NULL,
	extension   BLOB
) ENGINE=InnoDB`
	insertTransactionZero = `INSERT INTO "transaction" (tid, username, description)
	VALUES (0, 'system', 'special transaction for object creation')`

	createNewOID = `CREATE TABLE new_oid (zoid BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB`

	createStatesPreserving = `CREATE TABLE object_state (
	zoid       BIGINT NOT NULL,
	tid        BIGINT NOT NULL CHECK (tid > 0),
	prev_tid   BIGINT NOT NULL,
	md5        CHAR(32) CHARACTER SET ascii,
	state_size BIGINT NOT NULL CHECK (state_size >= 0),
	state      LONGBLOB,
	CONSTRAINT object_state_pk PRIMARY KEY (zoid, tid)
) ENGINE=InnoDB`
	createBlobsPreserving = `CREATE TABLE blob_chunk (
	zoid      BIGINT NOT NULL,
	tid       BIGINT NOT NULL,
	chunk_num BIGINT NOT NULL,
	chunk     LONGBLOB NOT NULL,
	CONSTRAINT blob_chunk_pk PRIMARY KEY (zoid, tid, chunk_num),
	CONSTRAINT blob_chunk_fk FOREIGN KEY (zoid, tid) REFERENCES object_state (zoid, tid) ON DELETE CASCADE
) ENGINE=InnoDB`
	createCurrent = `CREATE TABLE current_object (
	zoid BIGINT NOT NULL PRIMARY KEY,
	tid  BIGINT NOT NULL,
	FOREIGN KEY (zoid, tid) REFERENCES object_state (zoid, tid)
) ENGINE=InnoDB`
	createCurrentView = `CREATE VIEW current_object_state AS
	SELECT zoid, tid, state FROM object_state JOIN current_object USING (zoid, tid)`
	createRefsPreserving = `CREATE TABLE object_ref (
	zoid    BIGINT NOT NULL,
	tid     BIGINT NOT NULL,
	to_zoid BIGINT NOT NULL,
	PRIMARY KEY (tid, zoid, to_zoid)
) ENGINE=InnoDB`
	createRefsAddedPreserving = `CREATE TABLE object_refs_added (tid BIGINT NOT NULL PRIMARY KEY) ENGINE=InnoDB`
	createPackState           = `CREATE TABLE pack_state (tid BIGINT NOT NULL, zoid BIGINT NOT NULL, PRIMARY KEY (tid, zoid)) ENGINE=InnoDB`
	createPackStateTID        = `CREATE TABLE pack_state_tid (tid BIGINT NOT NULL PRIMARY KEY) ENGINE=InnoDB`

	createStatesFree = `CREATE TABLE object_state (
	zoid       BIGINT NOT NULL PRIMARY KEY,
	tid        BIGINT NOT NULL CHECK (tid > 0),
	state_size BIGINT NOT NULL CHECK (state_size >= 0),
	state      LONGBLOB
) ENGINE=InnoDB`
	createBlobsFree = `CREATE TABLE blob_chunk (
	zoid      BIGINT NOT NULL,
	chunk_num BIGINT NOT NULL,
	tid       BIGINT NOT NULL,
	chunk     LONGBLOB NOT NULL,
	CONSTRAINT blob_chunk_pk PRIMARY KEY (zoid, chunk_num),
	CONSTRAINT blob_chunk_fk FOREIGN KEY (zoid) REFERENCES object_state (zoid) ON DELETE CASCADE
) ENGINE=InnoDB`
	createRefsFree      = `CREATE TABLE object_ref (zoid BIGINT NOT NULL, to_zoid BIGINT NOT NULL, tid BIGINT NOT NULL, PRIMARY KEY (zoid, to_zoid)) ENGINE=InnoDB`
	createRefsAddedFree = `CREATE TABLE object_refs_added (zoid BIGINT NOT NULL PRIMARY KEY, tid BIGINT NOT NULL) ENGINE=InnoDB`

	createPackObject = `CREATE TABLE pack_object (
	zoid     BIGINT UNSIGNED NOT NULL PRIMARY KEY,
	keep     BOOLEAN NOT NULL,
	keep_tid BIGINT UNSIGNED NOT NULL,
	visited  BOOLEAN NOT NULL DEFAULT FALSE
) ENGINE=InnoDB`

	// Zari's own.
	createUndone = `CREATE TABLE zari_undone (
	zoid     BIGINT NOT NULL,
	tid      BIGINT NOT NULL,
	from_tid BIGINT NOT NULL,
	PRIMARY KEY (tid, zoid)
) ENGINE=InnoDB`
	createMeta = `CREATE TABLE zari_meta (
	id        BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
	uuid      VARBINARY(16) NOT NULL,
	epoch     BIGINT NOT NULL,
	tid_floor BIGINT NOT NULL,
	next_oid  BIGINT NOT NULL
) ENGINE=InnoDB SELECT 1 AS id, '' AS uuid, 0 AS epoch, 0 AS tid_floor, 0 AS next_oid`
)

// Schema implements sqlstorage.Dialect, in RelStorage's order.
func (d *DB) Schema(form sqlstorage.Form) []sqlstorage.Object {
	object := func(name string, sql ...string) sqlstorage.Object { return sqlstorage.Object{Name: name, SQL: sql} }
	index := func(table, columns string) sqlstorage.Object {
		name := table + "_" + strings.ReplaceAll(columns, ", ", "_")
		if table == "blob_chunk" {
			name = "blob_chunk_lookup"
		}
		return object("index "+name, "CREATE INDEX "+name+" ON "+table+" ("+columns+")")
	}
	if form == sqlstorage.Free {
		return []sqlstorage.Object{
			object("table commit_row_lock", createCommitRowLock),
			object("table new_oid", createNewOID),
			object("table object_state", createStatesFree),
			index("object_state", "tid"),
			object("table blob_chunk", createBlobsFree),
			index("blob_chunk", "zoid"),
			object("table object_ref", createRefsFree),
			object("table object_refs_added", createRefsAddedFree),
			object("table pack_object", createPackObject),
			index("pack_object", "keep, zoid"),
			object("table zari_meta", createMeta),
		}
	}
	return []sqlstorage.Object{
		object("table commit_row_lock", createCommitRowLock),
		object("table transaction", createTransaction, insertTransactionZero),
		object("table new_oid", createNewOID),
		object("table object_state", createStatesPreserving),
		index("object_state", "tid"),
		index("object_state", "prev_tid"),
		object("table blob_chunk", createBlobsPreserving),
		index("blob_chunk", "zoid, tid"),
		object("table current_object", createCurrent),
		index("current_object", "tid"),
		object("table object_ref", createRefsPreserving),
		object("table object_refs_added", createRefsAddedPreserving),
		object("table pack_object", createPackObject),
		index("pack_object", "keep, zoid"),
		object("table pack_state", createPackState),
		object("table pack_state_tid", createPackStateTID),
		object("view current_object_state", createCurrentView),
		object("table zari_undone", createUndone),
		object("table zari_meta", createMeta),
	}
}

// objectsQuery lists what is there, with the engine of tables.
const objectsQuery = `
SELECT CASE table_type WHEN 'VIEW' THEN 'view' ELSE 'table' END, table_name, COALESCE(engine, '')
	FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type IN ('VIEW', 'BASE TABLE')
UNION SELECT 'index', index_name, '' FROM information_schema.statistics WHERE table_schema = DATABASE()
UNION SELECT 'trigger', trigger_name, '' FROM information_schema.triggers WHERE trigger_schema = DATABASE()
UNION SELECT routine_type, routine_name, '' FROM information_schema.routines WHERE routine_schema = DATABASE()`

// Objects implements sqlstorage.Dialect. Tables of ours that InnoDB does not keep
// are an error: nothing in them could be rolled back.
func (d *DB) Objects(ctx context.Context) (map[string]bool, error) {
	objects := make(map[string]bool)
	var others []string // not in InnoDB
	err := d.Read(ctx, func(s sqlstorage.Session) error {
		clear(objects)
		for r, err := range s.Query(ctx, objectsQuery) {
			if err != nil {
				return err
			}
			var kind, name, engine string
			if err := r.Scan(&kind, &name, &engine); err != nil {
				return err
			}
			object := strings.ToLower(kind + " " + name)
			objects[object] = true
			if kind == "table" && !strings.EqualFold(engine, "InnoDB") && d.isOurs(object) {
				others = append(others, fmt.Sprintf("%s (%s)", name, engine))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(others) > 0 {
		slices.Sort(others)
		return nil, fmt.Errorf("%s: these tables must be InnoDB: %s (convert each with ALTER TABLE name ENGINE=InnoDB)",
			d.name, strings.Join(slices.Compact(others), ", "))
	}
	return objects, nil
}

func (d *DB) isOurs(object string) bool {
	same := func(o sqlstorage.Object) bool { return o.Name == object }
	return slices.ContainsFunc(d.Schema(sqlstorage.Preserving), same) || slices.ContainsFunc(d.Schema(sqlstorage.Free), same)
}
