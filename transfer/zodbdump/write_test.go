package zodbdump

import (
	"bytes"
	"errors"
	"testing"

	"github.com/zaridb/zari/zodb"
)

// The rules of the quoting, one by one.
func TestAppendQuoted(t *testing.T) {
	for in, want := range map[string]string{
		"":                           `""`,
		"/ admin":                    `"/ admin"`,
		`a "b" \c 'd'`:               `"a \"b\" \\c 'd'"`,
		"a\tb\nc\rd\x00\x1f\x7f":     `"a\tb\nc\rd\x00\x1f\x7f"`,
		"übung мир 世界":               `"übung мир 世界"`,
		"\xff\xfe":                   `"\xff\xfe"`,
		"a\xe4b":                     `"a\xe4b"`,
		"\u00a0\u200b\u2028":         `"\xc2\xa0\xe2\x80\x8b\xe2\x80\xa8"`,
		"\ufffd":                     "\"\ufffd\"",
		"\x80\x02}q\x01(K\x01K\x02u": `"\x80\x02}q\x01(K\x01K\x02u"`,
	} {
		if got := string(AppendQuoted(nil, []byte(in))); got != want {
			t.Errorf("%q is quoted as %s, want %s", in, got, want)
		}
	}
}

var sample = []*zodb.Transaction{
	{TID: 0x03d5a1b2c3d4e5f6, Status: ' ', User: []byte("/ u"), Description: []byte("first\nlines"), Records: []zodb.TxnRecord{
		{OID: 2, Data: []byte("two\nlines")}, {OID: 1, Data: []byte("one")}, {OID: 1 << 60, Data: []byte{}},
	}},
	{TID: 0x03d5a1b2c3d4e5f7, Status: 'p', Extension: []byte("\x80\x02}."), Records: []zodb.TxnRecord{
		{OID: 1, Data: []byte("one"), From: 0x03d5a1b2c3d4e5f6}, {OID: 2},
	}},
	{TID: 0x03d5a1b2c3d4e5f8, Status: ' '},
}

const sampleText = `txn 03d5a1b2c3d4e5f6 " "
user "/ u"
description "first\nlines"
extension ""
obj 0000000000000001 3 sha1:fe05bcdcdc4928012781a5f1a2a77cbb5398e106
one
obj 0000000000000002 9 sha1:e821f51a7c3d90629442153f83b994225cd87526
two
lines
obj 1000000000000000 0 sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709


txn 03d5a1b2c3d4e5f7 "p"
user ""
description ""
extension "\x80\x02}."
obj 0000000000000001 from 03d5a1b2c3d4e5f6
obj 0000000000000002 delete

txn 03d5a1b2c3d4e5f8 " "
user ""
description ""
extension ""

`

func dumped(t *testing.T, hashOnly bool) string {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out)
	w.HashOnly = hashOnly
	for _, txn := range sample {
		if err := w.Write(txn); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestWriter(t *testing.T) {
	if got := dumped(t, false); got != sampleText {
		t.Errorf("it is\n%s\nwant\n%s", got, sampleText)
	}
	if got := dumped(t, true); !bytes.Contains([]byte(got), []byte("obj 0000000000000001 3 sha1:fe05bcdcdc4928012781a5f1a2a77cbb5398e106 -\nobj 0")) {
		t.Errorf("with hashes only it is\n%s", got)
	}
}

type fullDisk struct{}

var errFull = errors.New("full")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriterThatCannot(t *testing.T) {
	w := NewWriter(fullDisk{})
	err := w.Write(sample[0])
	if err == nil {
		err = w.Flush()
	}
	if !errors.Is(err, errFull) {
		t.Errorf("Write and Flush: %v", err)
	}
}
