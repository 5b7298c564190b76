// Package pglog is a front in PostgreSQL: a slot is durable when its row is committed.
//
// # The model
//
// Two tables hold all logs of all databases:
//
//	zari_log       id uuid, slot bigint, epoch bigint   one row for each log: its last slot
//	zari_log_slot  id uuid, slot bigint, object bytea   slots that are not in the bucket yet
//
// A Put is one statement: it raises the slot of the log by one, if it is the one before and no
// later epoch has written, and inserts the object if it could. So of all who put a slot one
// succeeds; a writer that is over never does, whenever its statement arrives; and the row
// of zari_log stays when slots are trimmed, so no number is used twice.
//
// A statement whose answer is lost may be done all the same, or later. That is the caller's to
// find out, as with an object.
package pglog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/layout"
)

// Place is a PostgreSQL database with logs.
type Place struct {
	name    string
	pool    *pgxpool.Pool
	timeout time.Duration
}

// Options are the settings of a Place. Only DSN is required.
type Options struct {
	DSN     string        // libpq's keywords and values, or a URL
	Timeout time.Duration // of a statement, and a second for each 4 MiB of an object; then its outcome is not known. Default 5 s
}

var (
	_ front.Place = (*Place)(nil)
	_ front.Log   = (*log)(nil)
)

// schema makes the tables. Objects are as large as they are: compressing them takes time, and they
// stay for moments.
const schema = `
	CREATE TABLE IF NOT EXISTS zari_log (
		id uuid PRIMARY KEY, slot bigint NOT NULL, epoch bigint NOT NULL) WITH (fillfactor = 50);
	CREATE TABLE IF NOT EXISTS zari_log_slot (
		id uuid, slot bigint, object bytea NOT NULL, PRIMARY KEY (id, slot));
	ALTER TABLE zari_log_slot ALTER COLUMN object SET STORAGE EXTERNAL`

// schemaLock is an advisory lock: two who make the tables at the same time get in each other's way.
const schemaLock = 0x7a617269_6c6f67 // "zarilog"

// Open connects to a database, and makes the tables if they are not there.
func Open(ctx context.Context, opts Options) (*Place, error) {
	config, err := pgxpool.ParseConfig(opts.DSN)
	if err != nil {
		return nil, fmt.Errorf("the log's dsn: %w", err) // pgx leaves the password out
	}
	prepare(config)
	p := &Place{name: nameOf(config.ConnConfig), timeout: opts.Timeout}
	if p.timeout <= 0 {
		p.timeout = 5 * time.Second
	}
	if p.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, p.explain(err)
	}
	if err := p.makeTables(ctx); err != nil {
		p.pool.Close()
		return nil, p.explain(err)
	}
	return p, nil
}

// prepare sets what an operator need not know of.
func prepare(config *pgxpool.Config) {
	config.MaxConns = 4
	params := config.ConnConfig.RuntimeParams
	if params["application_name"] == "" {
		params["application_name"] = "zari log"
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 5}}
	config.ConnConfig.DialFunc = dialer.DialContext
	config.AfterConnect = durable
}

// durable sees to it that a commit is one, also where the server or the role is set to
// answer before.
func durable(ctx context.Context, c *pgx.Conn) error {
	var level string
	if err := c.QueryRow(ctx, "SHOW synchronous_commit").Scan(&level); err != nil {
		return err
	}
	if level != "off" {
		return nil
	}
	_, err := c.Exec(ctx, "SET synchronous_commit = on")
	return err
}

func (p *Place) makeTables(ctx context.Context) error {
	var there bool
	err := p.pool.QueryRow(ctx, "SELECT to_regclass('zari_log') IS NOT NULL AND to_regclass('zari_log_slot') IS NOT NULL").Scan(&there)
	if err != nil || there {
		return err
	}
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, schema)
		return err
	})
}

// nameOf names a database without its password.
func nameOf(c *pgx.ConnConfig) string {
	host := net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
	if strings.HasPrefix(c.Host, "/") {
		host = fmt.Sprintf("%s:%d", c.Host, c.Port)
	}
	return fmt.Sprintf("postgresql://%s/%s", host, c.Database)
}

func (p *Place) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", p.name, err)
}

// Kind implements front.Place.
func (p *Place) Kind() layout.FrontKind { return layout.InPostgres }

func (p *Place) String() string { return p.name }

// MaxObject implements front.Place: a value has at most 1 GiB, and a row is in memory several
// times.
func (p *Place) MaxObject() int64 { return 256 << 20 }

// Close implements front.Place.
func (p *Place) Close() error {
	p.pool.Close()
	return nil
}

// Create implements front.Place.
func (p *Place) Create(ctx context.Context, id layout.ID, last, epoch uint64) (front.Log, error) {
	l := &log{p, id}
	_, err := l.exec(ctx, `
		INSERT INTO zari_log (id, slot, epoch) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET slot = excluded.slot, epoch = excluded.epoch`,
		id, int64(last), int64(epoch))
	return l, err
}

// Open implements front.Place.
func (p *Place) Open(ctx context.Context, id layout.ID) (front.Log, error) {
	l := &log{p, id}
	_, err := l.Last(ctx)
	return l, err
}

type log struct {
	place *Place
	id    layout.ID
}

// exec runs one statement, which is a transaction.
func (l *log) exec(ctx context.Context, statement string, args ...any) (rows int64, err error) {
	return l.execFor(ctx, l.place.timeout, statement, args...)
}

func (l *log) execFor(ctx context.Context, timeout time.Duration, statement string, args ...any) (rows int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tag, err := l.place.pool.Exec(ctx, statement, args...)
	return tag.RowsAffected(), l.place.explain(err)
}

// query reads one value.
func (l *log) query(ctx context.Context, dest any, statement string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, l.place.timeout)
	defer cancel()
	return l.place.pool.QueryRow(ctx, statement, args...).Scan(dest)
}

// Put implements front.Log.
func (l *log) Put(ctx context.Context, slot, epoch uint64, object []byte) error {
	n, err := l.execFor(ctx, l.place.timeout+time.Duration(len(object)>>22)*time.Second, `
		WITH head AS (
			UPDATE zari_log SET slot = $2, epoch = $3 WHERE id = $1 AND slot = $2 - 1 AND epoch <= $3 RETURNING 1)
		INSERT INTO zari_log_slot (id, slot, object) SELECT $1, $2, $4 FROM head`,
		l.id, int64(slot), int64(epoch), object)
	if err != nil || n == 1 {
		return err
	}
	last, err := l.Last(ctx)
	switch {
	case errors.Is(err, front.ErrNoLog):
		return fmt.Errorf("%w: %w", front.ErrBehind, err)
	case err != nil:
		return err
	case last >= slot:
		return front.ErrTaken
	case last < slot-1:
		return fmt.Errorf("%s: %w: it ends with slot %d, and had slot %d", l.place.name, front.ErrBehind, last, slot-1)
	}
	return fmt.Errorf("%s: slot %d was not taken", l.place.name, slot) // by a rule or trigger, perhaps
}

// Get implements front.Log.
func (l *log) Get(ctx context.Context, slot uint64) (object []byte, err error) {
	err = l.query(ctx, &object, "SELECT object FROM zari_log_slot WHERE id = $1 AND slot = $2", l.id, int64(slot))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, front.ErrNone
	}
	return object, l.place.explain(err)
}

// Last implements front.Log.
func (l *log) Last(ctx context.Context) (uint64, error) {
	var slot int64
	err := l.query(ctx, &slot, "SELECT slot FROM zari_log WHERE id = $1", l.id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, l.place.explain(front.ErrNoLog)
	}
	return uint64(slot), l.place.explain(err)
}

// Trim implements front.Log.
func (l *log) Trim(ctx context.Context, upTo uint64) error {
	_, err := l.exec(ctx, "DELETE FROM zari_log_slot WHERE id = $1 AND slot <= $2", l.id, int64(min(upTo, 1<<62)))
	return err
}

// Remove implements front.Log. The row that says which slot was the last stays.
func (l *log) Remove(ctx context.Context) error { return l.Trim(ctx, 1<<62) }

// Close implements front.Log.
func (l *log) Close() error { return nil }
