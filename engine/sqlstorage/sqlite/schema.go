package sqlite

import "github.com/zaridb/zari/engine/sqlstorage"

// Schema implements sqlstorage.Dialect: the tables as RelStorage 4 makes them.
func (d *DB) Schema(form sqlstorage.Form) []sqlstorage.Object {
	if form == sqlstorage.Free {
		return append(free(), both()...)
	}
	return append(preserving(), both()...)
}

func object(name string, statements ...string) sqlstorage.Object {
	return sqlstorage.Object{Name: name, SQL: statements}
}

// both is what the two forms have in common.
func both() []sqlstorage.Object {
	return []sqlstorage.Object{
		object("table commit_row_lock",
			`CREATE TABLE commit_row_lock (tid INTEGER PRIMARY KEY NOT NULL)`,
			`INSERT INTO commit_row_lock (tid) VALUES (0)`),
		object("table pack_object",
			`CREATE TABLE pack_object (
				zoid     INTEGER PRIMARY KEY NOT NULL,
				keep     INTEGER NOT NULL,
				keep_tid INTEGER NOT NULL,
				visited  INTEGER NOT NULL DEFAULT FALSE
			)`),
		object("index pack_object_keep_zoid", `CREATE INDEX pack_object_keep_zoid ON pack_object (keep, zoid)`),
		object("table zari_meta",
			`CREATE TABLE zari_meta (
				id        INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
				uuid      BLOB    NOT NULL,
				epoch     INTEGER NOT NULL,
				tid_floor INTEGER NOT NULL,
				next_oid  INTEGER NOT NULL
			)`,
			`INSERT INTO zari_meta (id, uuid, epoch, tid_floor, next_oid) VALUES (1, x'', 0, 0, 0)`),
	}
}

func preserving() []sqlstorage.Object {
	return []sqlstorage.Object{
		object("table transaction",
			`CREATE TABLE "transaction" (
				tid         INTEGER PRIMARY KEY NOT NULL,
				packed      INTEGER NOT NULL DEFAULT FALSE,
				is_empty    INTEGER NOT NULL DEFAULT FALSE,
				username    BLOB    NOT NULL,
				description BLOB    NOT NULL,
				extension   BLOB
			)`,
			`INSERT INTO "transaction" (tid, username, description)
				VALUES (0, CAST('system' AS BLOB), CAST('special transaction for object creation' AS BLOB))`),
		object("table object_state",
			`CREATE TABLE object_state (
				zoid       INTEGER NOT NULL,
				tid        INTEGER NOT NULL REFERENCES "transaction" CHECK (tid > 0),
				prev_tid   INTEGER NOT NULL REFERENCES "transaction",
				md5        BLOB,
				state_size BIGINT  NOT NULL CHECK (state_size >= 0),
				state      BLOB,
				CONSTRAINT object_state_pk PRIMARY KEY (zoid, tid)
			)`),
		object("index object_state_tid", `CREATE INDEX object_state_tid ON object_state (tid)`),
		object("index object_state_prev_tid", `CREATE INDEX object_state_prev_tid ON object_state (prev_tid)`),
		object("table blob_chunk",
			`CREATE TABLE blob_chunk (
				zoid      INTEGER NOT NULL,
				tid       INTEGER NOT NULL,
				chunk_num INTEGER NOT NULL,
				chunk     BLOB    NOT NULL,
				CONSTRAINT blob_chunk_pk PRIMARY KEY (zoid, tid, chunk_num),
				CONSTRAINT blob_chunk_fk FOREIGN KEY (zoid, tid) REFERENCES object_state (zoid, tid) ON DELETE CASCADE
			)`),
		object("index blob_chunk_lookup", `CREATE INDEX blob_chunk_lookup ON blob_chunk (zoid, tid)`),
		object("table current_object",
			`CREATE TABLE current_object (
				zoid INTEGER PRIMARY KEY NOT NULL,
				tid  INTEGER NOT NULL,
				FOREIGN KEY (zoid, tid) REFERENCES object_state (zoid, tid)
			)`),
		object("index current_object_tid", `CREATE INDEX current_object_tid ON current_object (tid)`),
		object("table object_ref",
			`CREATE TABLE object_ref (
				zoid    INTEGER NOT NULL,
				tid     INTEGER NOT NULL,
				to_zoid INTEGER NOT NULL,
				PRIMARY KEY (tid, zoid, to_zoid)
			)`),
		object("table object_refs_added", `CREATE TABLE object_refs_added (tid INTEGER PRIMARY KEY NOT NULL)`),
		object("table pack_state",
			`CREATE TABLE pack_state (
				tid  INTEGER NOT NULL,
				zoid INTEGER NOT NULL,
				PRIMARY KEY (tid, zoid)
			)`),
		object("table zari_undone",
			`CREATE TABLE zari_undone (
				zoid     INTEGER NOT NULL,
				tid      INTEGER NOT NULL,
				from_tid INTEGER NOT NULL,
				PRIMARY KEY (tid, zoid)
			)`),
		object("table pack_state_tid", `CREATE TABLE pack_state_tid (tid INTEGER PRIMARY KEY NOT NULL)`),
		object("view current_object_state",
			`CREATE VIEW current_object_state AS
				SELECT zoid, tid, state FROM object_state JOIN current_object USING (zoid, tid)`),
	}
}

func free() []sqlstorage.Object {
	return []sqlstorage.Object{
		object("table object_state",
			`CREATE TABLE object_state (
				zoid       INTEGER PRIMARY KEY NOT NULL,
				tid        INTEGER NOT NULL CHECK (tid > 0),
				state_size BIGINT  NOT NULL CHECK (state_size >= 0),
				state      BLOB
			)`),
		object("index object_state_tid", `CREATE INDEX object_state_tid ON object_state (tid)`),
		object("table blob_chunk",
			`CREATE TABLE blob_chunk (
				zoid      INTEGER NOT NULL,
				chunk_num INTEGER NOT NULL,
				tid       INTEGER NOT NULL,
				chunk     BLOB    NOT NULL,
				CONSTRAINT blob_chunk_pk PRIMARY KEY (zoid, chunk_num),
				CONSTRAINT blob_chunk_fk FOREIGN KEY (zoid) REFERENCES object_state (zoid) ON DELETE CASCADE
			)`),
		object("index blob_chunk_lookup", `CREATE INDEX blob_chunk_lookup ON blob_chunk (zoid)`),
		object("table object_ref",
			`CREATE TABLE object_ref (
				zoid    INTEGER NOT NULL,
				to_zoid INTEGER NOT NULL,
				tid     INTEGER NOT NULL,
				PRIMARY KEY (zoid, to_zoid)
			)`),
		object("table object_refs_added",
			`CREATE TABLE object_refs_added (
				zoid INTEGER PRIMARY KEY NOT NULL,
				tid  INTEGER NOT NULL
			)`),
	}
}
