package zodbdump

import (
	"bufio"
	"crypto/sha1"
	"fmt"
	"io"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/zaridb/zari/zodb"
)

// Writer writes transactions to a stream. It buffers: Flush at the end.
type Writer struct {
	w *bufio.Writer

	// HashOnly leaves out the data.
	HashOnly bool
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 1<<16)} }

// Write writes a transaction.
func (w *Writer) Write(t *zodb.Transaction) error {
	head := fmt.Appendf(nil, "txn %v ", t.TID)
	head = AppendQuoted(head, []byte{t.Status})
	for _, text := range []struct {
		name string
		text []byte
	}{{"user", t.User}, {"description", t.Description}, {"extension", t.Extension}} {
		head = AppendQuoted(fmt.Appendf(head, "\n%s ", text.name), text.text)
	}
	w.w.Write(append(head, '\n'))
	for _, i := range inOrder(t.Records) {
		w.record(&t.Records[i])
	}
	return w.w.WriteByte('\n') // tells of an error of any write before
}

// inOrder returns the numbers of the records in the order of their oids.
func inOrder(records []zodb.TxnRecord) []int {
	order := make([]int, len(records))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch x, y := records[a].OID, records[b].OID; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return order
}

func (w *Writer) record(r *zodb.TxnRecord) {
	fmt.Fprintf(w.w, "obj %016x ", uint64(r.OID))
	switch {
	case r.Data == nil:
		w.w.WriteString("delete\n")
		return
	case r.From != 0:
		fmt.Fprintf(w.w, "from %v\n", r.From)
		return
	}
	fmt.Fprintf(w.w, "%d sha1:%x", len(r.Data), sha1.Sum(r.Data))
	if w.HashOnly {
		w.w.WriteString(" -\n")
		return
	}
	w.w.WriteByte('\n')
	w.w.Write(r.Data)
	w.w.WriteByte('\n')
}

// Flush writes what is buffered.
func (w *Writer) Flush() error { return w.w.Flush() }

// AppendQuoted appends a quoted string to dst.
func AppendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		switch {
		case r == '\\' || r == '"':
			dst = append(dst, '\\', byte(r))
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == utf8.RuneError && n == 1 || r != ' ' && !unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S):
			for _, b := range s[:n] {
				dst = fmt.Appendf(dst, `\x%02x`, b)
			}
		default:
			dst = append(dst, s[:n]...)
		}
		s = s[n:]
	}
	return append(dst, '"')
}
