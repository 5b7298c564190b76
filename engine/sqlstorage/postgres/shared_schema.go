package postgres

import (
	"fmt"

	"github.com/zaridb/zari/engine/sqlstorage"
)

// The channel on which commits are told.
const channel = "zari_commit"

// How long overwritten states are kept, and how many of the older ones go with each
// commit: so the side table stays small whoever writes, also while no Zari runs.
const (
	keepOverwritten = "10 minutes"
	forgetAtOnce    = 500
)

// sharedObjects are what a database that others write to has besides: triggers for
// each statement, which tell of RelStorage's commits as of our own.
func sharedObjects(form sqlstorage.Form) []sqlstorage.Object {
	notify := object("function zari_notify", fmt.Sprintf(`CREATE FUNCTION zari_notify() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM pg_notify('%s', '');
			RETURN NULL;
		END $$`, channel))
	if form == sqlstorage.Preserving {
		return []sqlstorage.Object{notify,
			object("trigger zari_notify", `CREATE TRIGGER zari_notify AFTER INSERT ON "transaction"
				FOR EACH STATEMENT EXECUTE FUNCTION zari_notify()`),
		}
	}
	return []sqlstorage.Object{notify,
		object("trigger zari_notify", `CREATE TRIGGER zari_notify AFTER INSERT OR UPDATE ON object_state
			FOR EACH STATEMENT EXECUTE FUNCTION zari_notify()`),
		// Not logged: what a crash of the database forgets, clients read anew.
		object("table zari_overwritten", `CREATE UNLOGGED TABLE zari_overwritten (
			zoid bigint NOT NULL,
			tid bigint NOT NULL,
			next_tid bigint NOT NULL,
			state bytea,
			at timestamptz DEFAULT clock_timestamp() NOT NULL,
			PRIMARY KEY (zoid, tid))`),
		object("index zari_overwritten_at", "CREATE INDEX zari_overwritten_at ON zari_overwritten (at)"),
		object("function zari_keep_overwritten", fmt.Sprintf(`CREATE FUNCTION zari_keep_overwritten() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				INSERT INTO zari_overwritten (zoid, tid, next_tid, state)
					SELECT zoid, o.tid, n.tid, o.state FROM old_rows o JOIN new_rows n USING (zoid) WHERE o.tid <> n.tid
					ON CONFLICT DO NOTHING;
				DELETE FROM zari_overwritten WHERE (zoid, tid) IN (
					SELECT zoid, tid FROM zari_overwritten WHERE at < now() - interval '%s' ORDER BY at LIMIT %d FOR UPDATE SKIP LOCKED);
				RETURN NULL;
			END $$`, keepOverwritten, forgetAtOnce)),
		object("trigger zari_keep_overwritten", `CREATE TRIGGER zari_keep_overwritten AFTER UPDATE ON object_state
			REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
			FOR EACH STATEMENT EXECUTE FUNCTION zari_keep_overwritten()`),
	}
}
