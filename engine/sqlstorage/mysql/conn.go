package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	gomysql "github.com/go-sql-driver/mysql"
)

// conn is a connection, used by one goroutine at a time. It is the driver's own, not
// one of database/sql: we must know which session it is, and that it stays the same.
//
// There are two ways to send a statement: text, with the arguments put in, which takes
// one round trip and may be several statements at once; and prepared, which the
// server parses once.
type conn struct {
	raw   rawConn
	info  serverInfo
	at    endpoint
	since time.Time
	stmts map[string]driver.Stmt
}

// rawConn is what the driver's connections can do.
type rawConn interface {
	driver.Conn
	driver.Pinger
	driver.ExecerContext
	driver.QueryerContext
	driver.ConnPrepareContext
	driver.SessionResetter
	driver.Validator
}

// serverInfo is what we want to know of a session.
type serverInfo struct {
	id       int64 // CONNECTION_ID()
	version  string
	mariadb  bool
	packet   int64  // max_allowed_packet
	readOnly bool   // the server takes no writes
	server   string // which server it is
}

// maxStatements bounds what a connection keeps prepared.
const maxStatements = 200

// Settings of every session. Without strict mode the server cuts what is too long.
var sessionVariables = map[string]string{
	"sql_mode":  "'ANSI_QUOTES,STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
	"time_zone": "'+00:00'",
}

// Settings of the two kinds of session. Writers are always in a transaction: if the
// server ends one behind our back, what follows is in the next, which we roll
// back or commit as a whole. And who writes holds locks, so a session whose client
// is gone without a word must not live for the eight hours that are the default.
const (
	readerSession = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
	writerSession = readerSession + "; SET SESSION autocommit=0, wait_timeout=120, auto_increment_increment=1, auto_increment_offset=1"
)

const serverInfoQuery = "SELECT CONNECTION_ID(), VERSION(), @@max_allowed_packet, " +
	"CONCAT('', @@global.read_only) NOT IN ('0', 'OFF') OR @@global.innodb_read_only, CONCAT(@@hostname, ':', @@port, ':', @@server_id)"

// connect opens a session at the first address that will do.
func (d *DB) connect(ctx context.Context, setup string) (*conn, error) {
	var failures []error
	addresses := d.opts.addresses()
	for _, a := range addresses {
		c, err := d.connectTo(ctx, parseAddress(a), setup)
		switch {
		case err != nil:
			failures = append(failures, fmt.Errorf("%s: %w", a, err))
		case c.info.readOnly && !d.opts.ReadOnly && len(addresses) > 1:
			c.close()
			failures = append(failures, fmt.Errorf("%s takes no writes (read_only is set)", a))
		default:
			return c, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

func (d *DB) connectTo(ctx context.Context, e endpoint, setup string) (*conn, error) {
	cfg := gomysql.NewConfig()
	cfg.Net, cfg.Addr = e.network, e.address
	cfg.User, cfg.Passwd, cfg.DBName = d.opts.User, d.opts.Password, d.opts.Database
	cfg.Params = sessionVariables
	cfg.ConnectionAttributes = "program_name:zari"
	cfg.MaxAllowedPacket = 0 // as the server has it
	cfg.InterpolateParams, cfg.MultiStatements = true, true
	cfg.Logger = &gomysql.NopLogger{} // it would log what it returns
	cfg.DialFunc = dialer(d.opts.ConnectTimeout)
	var err error
	if cfg.TLS, err = d.opts.TLS.config(e.host); err != nil {
		return nil, err
	}
	connector, err := gomysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	raw, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw.(rawConn), at: e, since: time.Now(), stmts: make(map[string]driver.Stmt)}
	if err := c.setup(ctx, setup); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *conn) setup(ctx context.Context, setup string) error {
	return c.text(ctx, setup+"; "+serverInfoQuery, func(r *row) error {
		err := r.Scan(&c.info.id, &c.info.version, &c.info.packet, &c.info.readOnly, &c.info.server)
		c.info.mariadb = strings.Contains(c.info.version, "MariaDB")
		return err
	})
}

func (c *conn) close() { c.raw.Close() }

// valid reports whether the connection can be used again, as far as is known.
func (c *conn) valid() bool { return c.raw.IsValid() }

// alive also looks whether the server has closed it.
func (c *conn) alive(ctx context.Context) bool { return c.valid() && c.raw.ResetSession(ctx) == nil }

// text sends statements, and calls each of the functions with every row of one
// answer that has columns, in turn. Answers without a function are skipped.
func (c *conn) text(ctx context.Context, statements string, answers ...func(*row) error) error {
	rows, err := c.raw.QueryContext(ctx, statements, nil)
	if err != nil {
		return err
	}
	more := rows.(driver.RowsNextResultSet)
	for _, answer := range answers {
		if err := eachRow(rows, answer); err != nil {
			rows.Close()
			return err
		}
		if err := more.NextResultSet(); err == io.EOF {
			break
		} else if err != nil {
			rows.Close()
			return err
		}
	}
	return rows.Close()
}

// texts is text for a first statement and many more that all have the same answer, in
// one round trip unless they are long.
func (c *conn) texts(ctx context.Context, first string, answers []func(*row) error, more []string, answer func(*row) error) error {
	text := first
	for _, s := range more {
		if len(text)+len(s) > int(min(textLimit, c.info.packet))/2 {
			if err := c.text(ctx, text, answers...); err != nil {
				return err
			}
			text, answers = s, []func(*row) error{answer}
			continue
		}
		text += "; " + s
		answers = append(answers, answer)
	}
	return c.text(ctx, text, answers...)
}

func eachRow(rows driver.Rows, answer func(*row) error) error {
	r := &row{values: make([]driver.Value, len(rows.Columns()))}
	for {
		switch err := rows.Next(r.values); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := answer(r); err != nil {
			return err
		}
	}
}

// send sends statements that answer nothing, with the arguments put in.
func (c *conn) send(ctx context.Context, statements string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.raw.ExecContext(ctx, statements, args)
	if err == driver.ErrSkip {
		return nil, fmt.Errorf("%w: a statement of more than max_allowed_packet (%d bytes)", errTooLargeForDatabase, c.info.packet)
	}
	return result, err
}

// prepare returns a prepared statement, which the connection keeps.
func (c *conn) prepare(ctx context.Context, statement string) (driver.Stmt, error) {
	if s, ok := c.stmts[statement]; ok {
		return s, nil
	}
	if len(c.stmts) >= maxStatements {
		for _, s := range c.stmts {
			s.Close()
		}
		clear(c.stmts)
	}
	s, err := c.raw.PrepareContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	c.stmts[statement] = s
	return s, nil
}

// exec runs a prepared statement.
func (c *conn) exec(ctx context.Context, statement string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.prepare(ctx, statement)
	if err != nil {
		return nil, err
	}
	return s.(driver.StmtExecContext).ExecContext(ctx, args)
}

// query runs a prepared statement that answers rows.
func (c *conn) query(ctx context.Context, statement string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.prepare(ctx, statement)
	if err != nil {
		return nil, err
	}
	return s.(driver.StmtQueryContext).QueryContext(ctx, args)
}

// named makes the driver's arguments of ours.
func named(args []any) []driver.NamedValue {
	list := make([]driver.NamedValue, len(args))
	for i, a := range args {
		list[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return list
}

// row is a row of an answer; its bytes are the driver's, until the next one.
type row struct{ values []driver.Value }

// Scan implements sqlstorage.Row.
func (r *row) Scan(dest ...any) error {
	if len(dest) != len(r.values) {
		return fmt.Errorf("a row of %d columns, wanted are %d", len(r.values), len(dest))
	}
	for i, to := range dest {
		if err := assign(to, r.values[i]); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}

func assign(dest any, v driver.Value) error {
	switch dest := dest.(type) {
	case *int64:
		return assignInt(dest, v)
	case *bool:
		var n int64
		err := assignInt(&n, v)
		*dest = n != 0
		return err
	case *string:
		b, err := bytesOf(v)
		*dest = string(b)
		return err
	case *[]byte:
		b, err := bytesOf(v)
		if *dest = nil; b != nil {
			*dest = append(make([]byte, 0, len(b)), b...)
		}
		return err
	}
	return fmt.Errorf("no value is copied to a %T", dest)
}

func assignInt(dest *int64, v driver.Value) (err error) {
	switch v := v.(type) {
	case nil:
		*dest = 0
	case int64:
		*dest = v
	case uint64: // a column that is UNSIGNED; oids and tids are below 1<<63
		*dest = int64(v)
	case []byte: // from text, and what is DECIMAL to the server: sums
		*dest, err = strconv.ParseInt(string(v), 10, 64)
	default:
		return fmt.Errorf("a %T is no integer", v)
	}
	return err
}

func bytesOf(v driver.Value) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []byte:
		return v, nil
	case int64:
		return strconv.AppendInt(nil, v, 10), nil
	}
	return nil, fmt.Errorf("a %T is no string", v)
}
