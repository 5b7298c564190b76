package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// databaseURL is the URL of a database: SCHEME://USER:PASSWORD@HOST:PORT/NAME, in
// which there may be several HOST:PORT with commas between them.
type databaseURL struct {
	user, password, name string
	hosts, ports         []string // as many of each; "": none is given
}

var errBadQuery = errors.New("what follows the question mark is not NAME=VALUE&NAME=VALUE, with special characters as %XX")

// errNull is the answer to what no database can be told.
var errNull = errors.New("there is a null byte in it")

// parseAuthority reads the part of a URL from :// to the question mark. A message
// never shows what is in it: passwords are.
func parseAuthority(s string) (databaseURL, error) {
	var u databaseURL
	if strings.Contains(s, "%00") {
		return u, errNull
	}
	authority, name, _ := strings.Cut(s, "/")
	at := strings.LastIndexByte(authority, '@')
	user, password, _ := strings.Cut(authority[:max(at, 0)], ":")
	for to, from := range map[*string]string{&u.user: user, &u.password: password, &u.name: name} {
		var err error
		if *to, err = url.PathUnescape(from); err != nil {
			return databaseURL{}, errors.New("there is a % that is not part of %XX: write %25")
		}
	}
	for part := range strings.SplitSeq(authority[at+1:], ",") {
		host, port, err := splitHostPort(part)
		if err != nil {
			return databaseURL{}, err
		}
		u.hosts, u.ports = append(u.hosts, host), append(u.ports, port)
	}
	return u, nil
}

// splitHostPort splits HOST:PORT, HOST, [IPv6]:PORT or nothing.
func splitHostPort(s string) (host, port string, err error) {
	if strings.HasPrefix(s, "[") {
		host, rest, ok := strings.Cut(s[1:], "]")
		port, colon := strings.CutPrefix(rest, ":")
		if !ok || rest != "" && !colon {
			return "", "", fmt.Errorf("%q is not HOST:PORT", s)
		}
		return host, port, nil
	}
	host, port, _ = strings.Cut(s, ":")
	if strings.Contains(port, ":") {
		return "", "", fmt.Errorf("%q is not HOST:PORT: write an IPv6 address in brackets", s)
	}
	host, err = url.PathUnescape(host) // a directory of sockets, as %2Frun%2Fpostgresql
	return host, port, err
}

// conninfo returns what libpq calls the URL's parts.
func (u databaseURL) conninfo() conninfo {
	ports := u.ports
	if strings.Join(ports, "") != "" {
		ports = slices.Clone(ports)
		for i := range ports {
			ports[i] = cmp.Or(ports[i], "5432")
		}
	}
	var c conninfo
	for _, k := range []keyword{
		{"host", strings.Join(u.hosts, ",")}, {"port", strings.Join(ports, ",")},
		{"dbname", u.name}, {"user", u.user}, {"password", u.password},
	} {
		if strings.Trim(k.value, ",") != "" {
			c = append(c, k)
		}
	}
	return c
}

var (
	userPassword   = regexp.MustCompile(`(?i)\b((?:postgres(?:ql)?|mysql|oracle)://[^:/@?#\s]*):\S*@`)
	passwordOption = regexp.MustCompile(`(?i)([?&](?:password|passwd|sslpassword|log-dsn)=)[^&#\s]*`)
)

// Redact returns what a command line names, a URL or another, without the passwords
// that are in it: for messages.
func Redact(where string) string {
	where = userPassword.ReplaceAllString(where, "$1:***@")
	return passwordOption.ReplaceAllString(where, "$1***")
}
