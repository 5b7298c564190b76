package pickle

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// This file has the opcodes of protocol 0, whose arguments are lines of text.

// line returns the input up to the next newline, which it skips.
func (d *Decoder) line() (string, error) {
	n := bytes.IndexByte(d.in[d.pos:], '\n')
	if n < 0 {
		return "", errShort
	}
	s := string(d.in[d.pos : d.pos+n])
	d.pos += n + 1
	return s, nil
}

func (d *Decoder) textMemo(do func(*Decoder, uint64) error) error {
	s, err := d.line()
	if err != nil {
		return err
	}
	i, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return errMemo
	}
	return do(d, i)
}

func (d *Decoder) textFloat() error {
	s, err := d.line()
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("bad float %q", s)
	}
	if math.IsNaN(f) {
		f = math.Float64frombits(0x7ff8000000000000) // the NaN that Python reads, not Go's
	}
	return d.push(f)
}

func (d *Decoder) textInt() error {
	s, err := d.line()
	switch {
	case err != nil:
		return err
	case s == "00":
		return d.push(false)
	case s == "01":
		return d.push(true)
	}
	return d.pushDecimal(s)
}

func (d *Decoder) textLong() error {
	s, err := d.line()
	if err != nil {
		return err
	}
	return d.pushDecimal(strings.TrimSuffix(s, "L"))
}

// maxDigits bounds decimal numbers, as Python does: reading them takes more than
// linear time.
const maxDigits = 4300

func (d *Decoder) pushDecimal(s string) error {
	s = strings.TrimSpace(s)
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return d.push(i)
	}
	if len(s) > maxDigits {
		return errors.New("a number has too many digits")
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return fmt.Errorf("bad number %q", s)
	}
	return d.push(n)
}

func (d *Decoder) textPersID() error {
	s, err := d.line()
	if err != nil {
		return err
	}
	return d.pushRef(s)
}

// textString is STRING: a str of Python 2 as its repr shows it.
func (d *Decoder) textString() error {
	s, err := d.line()
	if err != nil {
		return err
	}
	s = strings.TrimRight(s, " \t\r")
	if len(s) < 2 || s[0] != s[len(s)-1] || (s[0] != '\'' && s[0] != '"') {
		return fmt.Errorf("a string is not quoted: %.40q", s)
	}
	b, err := unescape(s[1 : len(s)-1])
	if err != nil {
		return err
	}
	return d.push(ByteString(b))
}

var simpleEscapes = map[byte]byte{
	'\\': '\\', '\'': '\'', '"': '"',
	'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
}

// unescape resolves the escapes of a Python string literal without a prefix.
func unescape(s string) ([]byte, error) {
	out := make([]byte, 0, len(s))
	for s != "" {
		c, rest := s[0], s[1:]
		if c != '\\' {
			out, s = append(out, c), rest
			continue
		}
		if rest == "" {
			return nil, errors.New("a string ends in a backslash")
		}
		var err error
		if out, s, err = unescapeOne(out, rest); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// unescapeOne reads what follows a backslash. An unknown escape stands for
// itself, backslash included.
func unescapeOne(out []byte, s string) (_ []byte, rest string, err error) {
	c := s[0]
	if plain, ok := simpleEscapes[c]; ok {
		return append(out, plain), s[1:], nil
	}
	switch {
	case c == 'x':
		if len(s) < 3 {
			return nil, "", errors.New(`a \x escape is too short`)
		}
		n, err := strconv.ParseUint(s[1:3], 16, 8)
		if err != nil {
			return nil, "", errors.New(`bad \x escape`)
		}
		return append(out, byte(n)), s[3:], nil
	case c >= '0' && c <= '7':
		n, k := 0, 0
		for k < 3 && k < len(s) && s[k] >= '0' && s[k] <= '7' {
			n, k = n*8+int(s[k]-'0'), k+1
		}
		return append(out, byte(n)), s[k:], nil
	}
	return append(out, '\\', c), s[1:], nil
}

// textUnicode is UNICODE: text in Python's raw-unicode-escape encoding, which is
// Latin-1 with \u and \U escapes and no way to write a backslash before a u.
func (d *Decoder) textUnicode() error {
	s, err := d.line()
	if err != nil {
		return err
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		r, n, err := rawUnicode(s[i:])
		if err != nil {
			return err
		}
		out = appendRune(out, r)
		i += n
	}
	return d.push(string(out))
}

// rawUnicode reads one character, and tells how many bytes it takes.
func rawUnicode(s string) (rune, int, error) {
	digits := 0
	if len(s) > 1 && s[0] == '\\' && s[1] == 'u' {
		digits = 4
	}
	if len(s) > 1 && s[0] == '\\' && s[1] == 'U' {
		digits = 8
	}
	if digits == 0 {
		return rune(s[0]), 1, nil
	}
	if len(s) < 2+digits {
		return 0, 0, errors.New(`a \u escape is too short`)
	}
	n, err := strconv.ParseUint(s[2:2+digits], 16, 32)
	if err != nil || n > utf8.MaxRune {
		return 0, 0, errors.New(`bad \u escape`)
	}
	return rune(n), 2 + digits, nil
}

// appendRune appends r in UTF-8, surrogates too, as Python's surrogatepass does.
func appendRune(out []byte, r rune) []byte {
	if r >= 0xd800 && r <= 0xdfff {
		return append(out, 0xed, byte(0x80|r>>6&0x3f), byte(0x80|r&0x3f))
	}
	return utf8.AppendRune(out, r)
}
