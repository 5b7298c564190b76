package mysql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
)

// statements gathers what is to be executed into few large texts. Rows for the same
// table become one INSERT of many rows; a text grows up to a few megabytes, and
// never beyond what the server takes.
type statements struct {
	conn  *conn
	limit int // most bytes of a text

	text   strings.Builder
	args   []driver.NamedValue
	size   int     // at most so many bytes, with the arguments put in
	insert *insert // whose rows are being gathered, nil: none
}

// insert is a form of INSERT.
type insert struct {
	head string // INSERT INTO t (a, b) VALUES
	row  string // (?,?)
	tail string // what follows the rows
}

// textLimit is how long a text gets where the server would take longer ones.
const textLimit = 4 << 20

func newStatements(c *conn) *statements {
	return &statements{conn: c, limit: int(min(textLimit, c.info.packet-1024))}
}

// sizeOf bounds how long the arguments get in a text: each byte may be escaped.
func sizeOf(args []any) int {
	n := 0
	for _, a := range args {
		n += 24 // an integer, or _binary''
		switch a := a.(type) {
		case []byte:
			n += 2 * len(a)
		case string:
			n += 2 * len(a)
		}
	}
	return n
}

// add gathers a row.
func (s *statements) add(ctx context.Context, in *insert, args ...any) error {
	size := sizeOf(args) + len(in.row) + 1
	frame := len(in.head) + len(in.tail) + 2
	if s.size > 0 && s.size+size+frame > s.limit {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	if size+frame > s.limit {
		return s.alone(ctx, in, args)
	}
	if s.insert == in {
		s.text.WriteByte(',')
	} else {
		s.end()
		s.text.WriteString(in.head)
		s.size += frame
		s.insert = in
	}
	s.text.WriteString(in.row)
	s.args = append(s.args, s.numbered(args)...)
	s.size += size
	return nil
}

// alone executes a row that is too long for a text. A prepared statement takes its
// arguments in pieces, and without escapes.
func (s *statements) alone(ctx context.Context, in *insert, args []any) error {
	_, err := s.conn.exec(ctx, in.head+in.row+in.tail, named(args))
	return err
}

// numbered makes the driver's arguments; the numbers go on in one text.
func (s *statements) numbered(args []any) []driver.NamedValue {
	list := named(args)
	for i := range list {
		list[i].Ordinal += len(s.args)
	}
	return list
}

// do gathers a statement of another kind.
func (s *statements) do(ctx context.Context, statement string, args ...any) error {
	size := sizeOf(args) + len(statement) + 1
	if s.size > 0 && s.size+size > s.limit {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.end()
	s.text.WriteString(statement)
	s.text.WriteByte(';')
	s.args = append(s.args, s.numbered(args)...)
	s.size += size
	return nil
}

// end ends the INSERT that is being gathered.
func (s *statements) end() {
	if s.insert != nil {
		s.text.WriteString(s.insert.tail)
		s.text.WriteByte(';')
		s.insert = nil
	}
}

// flush executes what was gathered.
func (s *statements) flush(ctx context.Context) error {
	if s.end(); s.text.Len() == 0 {
		return nil
	}
	text, args := s.take()
	_, err := s.conn.send(ctx, text, args)
	return err
}

// take returns what was gathered, and begins anew.
func (s *statements) take() (string, []driver.NamedValue) {
	s.end()
	text, args := s.text.String(), s.args
	s.text.Reset()
	s.args, s.size = nil, 0
	return text, args
}

// numbers writes integers as a JSON array, which JSON_TABLE reads.
func numbers(list []int64) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, n := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, n)
	}
	b.WriteByte(']')
	return b.String()
}
