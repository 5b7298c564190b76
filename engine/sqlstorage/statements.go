package sqlstorage

import "context"

// Statements on the table that is our own.
const (
	selectMeta  = `SELECT uuid, epoch, tid_floor, next_oid FROM zari_meta WHERE id = 1`
	updateMeta  = `UPDATE zari_meta SET uuid = ?, tid_floor = ?, next_oid = ? WHERE id = 1`
	selectEpoch = `SELECT epoch FROM zari_meta WHERE id = 1`
	nextEpoch   = `UPDATE zari_meta SET epoch = epoch + 1 WHERE id = 1`
	raiseFloor  = `UPDATE zari_meta SET tid_floor = ? WHERE id = 1 AND tid_floor < ?`
)

// SelectLast returns the statement for the tid of the last transaction.
func (f Form) SelectLast() string {
	if f == Free {
		return `SELECT MAX(tid) FROM object_state`
	}
	return `SELECT MAX(tid) FROM "transaction"`
}

// objects is the table with one row for each object.
func (f Form) objects() string {
	if f == Free {
		return "object_state"
	}
	return "current_object"
}

// number returns the number that a statement selects, 0 for NULL or no row.
func number(ctx context.Context, s Session, statement string, args ...any) (n int64, err error) {
	for row, err := range s.Query(ctx, statement, args...) {
		if err != nil {
			return 0, err
		}
		if err := row.Scan(&n); err != nil {
			return 0, err
		}
	}
	return n, nil
}
