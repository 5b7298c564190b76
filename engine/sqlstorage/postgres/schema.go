package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/zaridb/zari/engine/sqlstorage"
)

// listObjects names what is there in the schema that unqualified names are made in.
const listObjects = `
	SELECT CASE relkind WHEN 'r' THEN 'table ' WHEN 'p' THEN 'table ' WHEN 'i' THEN 'index ' WHEN 'v' THEN 'view ' ELSE 'sequence ' END || relname
		FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'i', 'v', 'S')
	UNION ALL
	SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
	UNION ALL
	SELECT 'trigger ' || tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
		WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal`

// Objects implements sqlstorage.Dialect.
func (d *DB) Objects(ctx context.Context) (map[string]bool, error) {
	var found map[string]bool
	err := d.twice(ctx, d.reads, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, listObjects)
		if err != nil {
			return d.explain(err)
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		found = make(map[string]bool, len(names))
		for _, name := range names {
			found[name] = true
		}
		return d.explain(err)
	})
	return found, err
}

// Schema implements sqlstorage.Dialect. Of RelStorage's functions there is the one
// that large objects need; RelStorage makes the others when it opens the database,
// and puts its own in the place of ours.
func (d *DB) Schema(form sqlstorage.Form) []sqlstorage.Object {
	list := preserving
	if form == sqlstorage.Free {
		list = free
	}
	list = append(list[:len(list):len(list)], both...)
	if d.opts.Shared {
		list = append(list, sharedObjects(form)...)
	}
	return list
}

func object(name string, sql ...string) sqlstorage.Object {
	return sqlstorage.Object{Name: name, SQL: sql}
}

// The tables have RelStorage's columns, in its order, and its names of constraints:
// those that PostgreSQL gives are not spelled out.
var preserving = []sqlstorage.Object{
	object("table transaction", `CREATE TABLE "transaction" (
		tid bigint PRIMARY KEY,
		packed boolean DEFAULT false NOT NULL,
		is_empty boolean DEFAULT false NOT NULL,
		username bytea NOT NULL,
		description bytea NOT NULL,
		extension bytea)`,
		// prev_tid of what is new refers to it
		`INSERT INTO "transaction" (tid, username, description) VALUES (0, 'system', 'special transaction for object creation')`),
	object("table object_state", `CREATE TABLE object_state (
		zoid bigint NOT NULL,
		tid bigint NOT NULL REFERENCES "transaction",
		prev_tid bigint NOT NULL REFERENCES "transaction",
		md5 char(32),
		state_size bigint NOT NULL,
		state bytea,
		CONSTRAINT object_state_pk PRIMARY KEY (zoid, tid),
		CHECK (tid > 0),
		CHECK (state_size >= 0))`),
	object("index object_state_tid", "CREATE INDEX object_state_tid ON object_state (tid)"),
	object("index object_state_prev_tid", "CREATE INDEX object_state_prev_tid ON object_state (prev_tid)"),
	object("table current_object", `CREATE TABLE current_object (
		zoid bigint PRIMARY KEY,
		tid bigint NOT NULL,
		FOREIGN KEY (zoid, tid) REFERENCES object_state (zoid, tid))`),
	object("index current_object_tid", "CREATE INDEX current_object_tid ON current_object (tid)"),
	object("view current_object_state", `CREATE VIEW current_object_state AS
		SELECT zoid, tid, state FROM object_state JOIN current_object USING (zoid, tid)`),
	object("table blob_chunk", `CREATE TABLE blob_chunk (
		zoid bigint NOT NULL,
		tid bigint NOT NULL,
		chunk_num bigint NOT NULL,
		chunk oid NOT NULL,
		CONSTRAINT blob_chunk_pk PRIMARY KEY (zoid, tid, chunk_num),
		CONSTRAINT blob_chunk_fk FOREIGN KEY (zoid, tid) REFERENCES object_state (zoid, tid) ON DELETE CASCADE)`),
	object("index blob_chunk_lookup", "CREATE INDEX blob_chunk_lookup ON blob_chunk (zoid, tid)"),
	object("table object_ref", `CREATE TABLE object_ref (
		zoid bigint NOT NULL,
		tid bigint NOT NULL,
		to_zoid bigint NOT NULL,
		PRIMARY KEY (tid, zoid, to_zoid))`),
	object("table object_refs_added", "CREATE TABLE object_refs_added (tid bigint PRIMARY KEY)"),
	object("table pack_state", `CREATE TABLE pack_state (
		tid bigint NOT NULL,
		zoid bigint NOT NULL,
		PRIMARY KEY (tid, zoid))`),
	object("table pack_state_tid", "CREATE TABLE pack_state_tid (tid bigint PRIMARY KEY)"),
	object("table zari_undone", `CREATE TABLE zari_undone (
		tid bigint NOT NULL,
		zoid bigint NOT NULL,
		from_tid bigint NOT NULL,
		PRIMARY KEY (tid, zoid))`),
}

var free = []sqlstorage.Object{
	object("table object_state", `CREATE TABLE object_state (
		zoid bigint PRIMARY KEY,
		tid bigint NOT NULL,
		state_size bigint NOT NULL,
		state bytea,
		CHECK (tid > 0),
		CHECK (state_size >= 0))`),
	object("index object_state_tid", "CREATE INDEX object_state_tid ON object_state (tid)"),
	object("table blob_chunk", `CREATE TABLE blob_chunk (
		zoid bigint NOT NULL,
		chunk_num bigint NOT NULL,
		tid bigint NOT NULL,
		chunk oid NOT NULL,
		CONSTRAINT blob_chunk_pk PRIMARY KEY (zoid, chunk_num),
		CONSTRAINT blob_chunk_fk FOREIGN KEY (zoid) REFERENCES object_state (zoid) ON DELETE CASCADE)`),
	object("index blob_chunk_lookup", "CREATE INDEX blob_chunk_lookup ON blob_chunk (zoid)"),
	object("table object_ref", `CREATE TABLE object_ref (
		zoid bigint NOT NULL,
		to_zoid bigint NOT NULL,
		tid bigint NOT NULL,
		PRIMARY KEY (zoid, to_zoid))`),
	object("table object_refs_added", `CREATE TABLE object_refs_added (
		zoid bigint PRIMARY KEY,
		tid bigint NOT NULL)`),
}

// both are the objects that do not depend on the form.
var both = []sqlstorage.Object{
	object("table commit_row_lock", "CREATE TABLE commit_row_lock (tid bigint PRIMARY KEY)",
		"INSERT INTO commit_row_lock (tid) VALUES (0)"),
	object("table pack_object", `CREATE TABLE pack_object (
		zoid bigint PRIMARY KEY,
		keep boolean NOT NULL,
		keep_tid bigint NOT NULL,
		visited boolean DEFAULT false NOT NULL)`),
	object("index pack_object_keep_false", "CREATE INDEX pack_object_keep_false ON pack_object (zoid) WHERE keep = false"),
	object("index pack_object_keep_true", "CREATE INDEX pack_object_keep_true ON pack_object (visited) WHERE keep = true"),
	object("sequence zoid_seq", "CREATE SEQUENCE zoid_seq"),
	// A large object goes with the last row that names it. The rows that the same
	// statement has deleted before are not seen any more.
	object("function blob_chunk_delete_trigger", `CREATE FUNCTION blob_chunk_delete_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF NOT EXISTS (SELECT FROM blob_chunk WHERE chunk = OLD.chunk AND ctid <> OLD.ctid) THEN
				PERFORM lo_unlink(OLD.chunk);
			END IF;
			RETURN OLD;
		END $$`),
	object("trigger blob_chunk_delete", `CREATE TRIGGER blob_chunk_delete BEFORE DELETE ON blob_chunk
		FOR EACH ROW EXECUTE FUNCTION blob_chunk_delete_trigger()`),
	object("table zari_meta", `CREATE TABLE zari_meta (
		id integer PRIMARY KEY,
		uuid bytea NOT NULL,
		epoch bigint NOT NULL,
		tid_floor bigint NOT NULL,
		next_oid bigint NOT NULL)`,
		"INSERT INTO zari_meta (id, uuid, epoch, tid_floor, next_oid) VALUES (1, '', 0, 0, 0)"),
}
