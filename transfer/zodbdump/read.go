package zodbdump

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"strconv"

	"github.com/zaridb/zari/zodb"
)

// Bounds of what is read.
const (
	// MaxLine is the longest line: a text of 64 KiB has at most four times as many
	// bytes when it is quoted.
	MaxLine = 1 << 19
	// MaxData is the largest record.
	MaxData = 1 << 31
)

// SyntaxError tells where a dump is not one. Lines are counted from 1, those within
// data included.
type SyntaxError struct {
	Line int
	Err  error
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

func (e *SyntaxError) Unwrap() error { return e.Err }

// Reader reads transactions from a dump.
type Reader struct {
	r    *bufio.Reader
	line int
	last zodb.TID
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 1<<16)} }

// Read returns the next transaction, and io.EOF behind the last one. Data are
// checked against their hash. An undo record has From and no Data, which the form
// has not got: they are those of that earlier revision.
func (r *Reader) Read() (*zodb.Transaction, error) {
	t, err := r.transaction()
	if err == nil || err == io.EOF {
		return t, err
	}
	if err == errEnds {
		err = io.ErrUnexpectedEOF
	}
	return nil, &SyntaxError{Line: r.line, Err: err}
}

// All yields the transactions that Read returns, up to the end or an error.
func (r *Reader) All() iter.Seq2[*zodb.Transaction, error] {
	return func(yield func(*zodb.Transaction, error) bool) {
		for {
			t, err := r.Read()
			if err == io.EOF || !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// errEnds says that the stream ends where a line should begin.
var errEnds = errors.New("the dump ends here")

func (r *Reader) transaction() (*zodb.Transaction, error) {
	line, err := r.readLine()
	if err == errEnds {
		return nil, io.EOF
	}
	if err != nil {
		return nil, err
	}
	t := new(zodb.Transaction)
	if err := r.begin(t, line); err != nil {
		return nil, err
	}
	for _, text := range []struct {
		name string
		dst  *[]byte
	}{{"user ", &t.User}, {"description ", &t.Description}, {"extension ", &t.Extension}} {
		line, err := r.readLine()
		if err != nil {
			return nil, err
		}
		quoted, ok := bytes.CutPrefix(line, []byte(text.name))
		if !ok {
			return nil, fmt.Errorf("%q should begin with %q", shown(line), text.name)
		}
		if *text.dst, err = unquote(quoted); err != nil {
			return nil, err
		}
	}
	for {
		line, err := r.readLine()
		if err != nil || len(line) == 0 {
			return t, err
		}
		rec, err := r.record(line)
		if err != nil {
			return nil, err
		}
		t.Records = append(t.Records, rec)
	}
}

// begin reads the first line of a transaction.
func (r *Reader) begin(t *zodb.Transaction, line []byte) error {
	words := bytes.SplitN(line, []byte(" "), 3)
	if len(words) != 3 || string(words[0]) != "txn" {
		return fmt.Errorf("%q is not the beginning of a transaction", shown(line))
	}
	tid, err := parseID(words[1])
	if err != nil {
		return err
	}
	t.TID = zodb.TID(tid)
	if t.TID == 0 || t.TID > zodb.MaxTID || t.TID <= r.last {
		return fmt.Errorf("transaction %v cannot follow transaction %v", t.TID, r.last)
	}
	r.last = t.TID
	status, err := unquote(words[2])
	if err != nil || len(status) != 1 {
		return fmt.Errorf("%q is no status", shown(words[2]))
	}
	t.Status = status[0]
	return nil
}

// record reads a line that tells of an object, and the data behind it.
func (r *Reader) record(line []byte) (rec zodb.TxnRecord, err error) {
	words := bytes.Split(line, []byte(" "))
	if len(words) < 3 || len(words) > 5 || string(words[0]) != "obj" {
		return rec, fmt.Errorf("%q tells of no object", shown(line))
	}
	oid, err := parseID(words[1])
	if err != nil {
		return rec, err
	}
	rec.OID = zodb.OID(oid)
	switch {
	case len(words) == 3 && string(words[2]) == "delete":
		return rec, nil
	case len(words) == 4 && string(words[2]) == "from":
		from, err := parseID(words[3])
		if rec.From = zodb.TID(from); err == nil && (from == 0 || rec.From >= r.last) {
			err = fmt.Errorf("an undo cannot go back to transaction %v", rec.From)
		}
		return rec, err
	case len(words) == 5 && string(words[4]) == "-":
		return rec, errors.New("the data were left out of the dump")
	case len(words) != 4:
		return rec, fmt.Errorf("%q tells of no object", shown(line))
	}
	size, err := strconv.ParseInt(string(words[2]), 10, 64)
	if err != nil || size < 0 || size > MaxData {
		return rec, fmt.Errorf("%q is no size of a record", shown(words[2]))
	}
	rec.Data, err = r.data(size, words[3])
	return rec, err
}

// data reads the bytes of a record and the newline behind them. Memory is taken as
// they come, whatever the size says.
func (r *Reader) data(size int64, sum []byte) ([]byte, error) {
	name, want, _ := bytes.Cut(sum, []byte(":"))
	var h hash.Hash
	switch string(name) {
	case "sha1":
		h = sha1.New()
	case "sha256":
		h = sha256.New()
	case "sha512":
		h = sha512.New()
	default:
		return nil, fmt.Errorf("the hash %q is not known", shown(sum))
	}
	expected := string(want) // the line is gone when more is read
	var buf bytes.Buffer
	n, err := io.CopyN(io.MultiWriter(&buf, h), r.r, size)
	if err == nil {
		r.line += bytes.Count(buf.Bytes(), []byte("\n"))
		var end byte
		if end, err = r.r.ReadByte(); err == nil && end != '\n' {
			return nil, fmt.Errorf("there is more than the %d bytes of the record", n)
		}
		r.line++
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if hex.EncodeToString(h.Sum(nil)) != expected {
		return nil, errors.New("the data do not have the hash that is told: the dump is damaged")
	}
	if buf.Len() == 0 {
		return []byte{}, nil
	}
	return buf.Bytes(), nil
}

// readLine returns the next line without its end, valid until more is read.
func (r *Reader) readLine() ([]byte, error) {
	var long []byte
	for {
		part, err := r.r.ReadSlice('\n')
		if err == nil && long == nil {
			r.line++
			return part[:len(part)-1], nil
		}
		long = append(long, part...)
		switch {
		case len(long) > MaxLine:
			return nil, errors.New("the line is too long")
		case err == nil:
			r.line++
			return long[:len(long)-1], nil
		case err == io.EOF && len(long) == 0:
			return nil, errEnds
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

func parseID(word []byte) (uint64, error) {
	n, err := strconv.ParseUint(string(word), 16, 64)
	if err != nil || len(word) != 16 {
		return 0, fmt.Errorf("%q does not have 16 hexadecimal digits", shown(word))
	}
	return n, nil
}

// shown is the beginning of what is quoted in an error.
func shown(b []byte) []byte { return b[:min(len(b), 100)] }

// unquote reads what AppendQuoted writes, and the other escapes that Go has for
// bytes. It returns nil for an empty string.
func unquote(s []byte) (out []byte, err error) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return nil, fmt.Errorf("%q is not quoted", shown(s))
	}
	body := string(s[1 : len(s)-1])
	for len(body) > 0 {
		if body[0] != '\\' {
			if body[0] == '"' {
				return nil, fmt.Errorf("%q has a quote within", shown(s))
			}
			out, body = append(out, body[0]), body[1:]
			continue
		}
		char, multibyte, rest, err := strconv.UnquoteChar(body, '"')
		if err != nil || multibyte {
			return nil, fmt.Errorf("%q has an escape that is none", shown(s))
		}
		out, body = append(out, byte(char)), rest
	}
	return out, nil
}
