// Package mycnf reads the option files of MySQL's and MariaDB's client programs,
// which are named my.cnf, as mysql_options(MYSQL_READ_DEFAULT_FILE) does.
//
//	[client]
//	host = db.example.com
//	password = "with # in it"
//	ssl-ca = /etc/ssl/db.pem       # a comment
//
// A file has groups of options, and nobody reads all of them: libraries read
// [client], and one that they were told of. In names, - and _ are the same. A value
// may be in quotes, single or double; outside of single ones a backslash begins an
// escape (\n \t \r \b \s \\ \" \'). Lines that begin with # or ; are comments,
// and so is what follows a # outside of quotes. !include and !includedir are refused:
// a library that skipped them would connect to another server than it was told to.
//
// The source of these rules is MySQL's manual, "Using Option Files".
package mycnf

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// maxSize bounds a file that is read.
const maxSize = 1 << 20

// Load reads the options of some groups of the file at path. The names in the map
// have dashes; a later line goes before an earlier one, whichever group it is in.
func Load(path string, groups ...string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSize {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxSize)
	}
	options, err := Read(bytes.NewReader(text), groups...)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	return options, nil
}

// Read is [Load] of what r has. An error begins with the number of the line, and
// never shows what is in it: passwords are.
func Read(r io.Reader, groups ...string) (map[string]string, error) {
	options := make(map[string]string)
	lines := bufio.NewScanner(r)
	wanted, number := false, 0
	for lines.Scan() {
		number++
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '!':
			return nil, fmt.Errorf("%d: directives such as !include are not supported", number)
		case line[0] == '[':
			name, _, ok := strings.Cut(line[1:], "]")
			if !ok {
				return nil, fmt.Errorf("%d: a ] is missing", number)
			}
			wanted = slices.Contains(groups, strings.TrimSpace(name))
		case wanted:
			name, value, err := option(line)
			if err != nil {
				return nil, fmt.Errorf("%d: %w", number, err)
			}
			options[name] = value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%d: %w", number+1, err)
	}
	return options, nil
}

// option splits a line NAME = VALUE, or NAME alone, whose value is "".
func option(line string) (name, value string, err error) {
	name, value, _ = strings.Cut(line, "=")
	if comment := strings.IndexByte(name, '#'); comment >= 0 {
		name, value = name[:comment], ""
	}
	name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "_", "-")
	name = strings.TrimPrefix(name, "loose-")
	value, err = unquote(strings.TrimSpace(value))
	return name, value, err
}

// unquote takes a value out of its quotes, or cuts off the comment that follows.
func unquote(s string) (string, error) {
	var b strings.Builder
	quote := byte(0)
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		quote, s = s[0], s[1:]
	}
	for i := 0; i < len(s); i++ {
		switch {
		case quote != 0 && s[i] == quote:
			return b.String(), nil
		case quote == 0 && s[i] == '#':
			return strings.TrimSpace(b.String()), nil
		case s[i] == '\\' && quote != '\'' && i+1 < len(s):
			i++
			b.WriteString(escape(s[i]))
		default:
			b.WriteByte(s[i])
		}
	}
	if quote != 0 {
		return "", fmt.Errorf("the closing quote is missing")
	}
	return strings.TrimSpace(b.String()), nil
}

func escape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case 'b':
		return "\b"
	case 's':
		return " "
	case '\\', '"', '\'':
		return string(c)
	}
	return `\` + string(c)
}
