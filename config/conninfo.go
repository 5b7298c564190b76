package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/zaridb/zari/config/zconfig"
)

// conninfo is what libpq calls a connection string: keywords and their values, of
// which the last one of a name counts.
type conninfo []keyword

type keyword struct{ name, value string }

func (c conninfo) get(name string) string {
	for _, k := range slices.Backward(c) {
		if k.name == name {
			return k.value
		}
	}
	return ""
}

// without returns c without some keywords.
func (c conninfo) without(names ...string) conninfo {
	return slices.DeleteFunc(slices.Clone(c), func(k keyword) bool { return slices.Contains(names, k.name) })
}

// String writes c in libpq's syntax.
func (c conninfo) String() string {
	var words []string
	for _, k := range c {
		words = append(words, fmt.Sprintf("%s='%s'", k.name, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(k.value)))
	}
	return strings.Join(words, " ")
}

// hosts returns HOST:PORT for each server, as libpq counts them: one port may stand
// for all, and no host means a socket of this machine.
func (c conninfo) hosts() []string {
	hosts, ports := strings.Split(cmp.Or(c.get("host"), c.get("hostaddr")), ","), strings.Split(c.get("port"), ",")
	var list []string
	for i, host := range hosts {
		port := ports[min(i, len(ports)-1)]
		switch {
		case host == "" || strings.HasPrefix(host, "/"):
			list = append(list, strings.TrimSpace(host+" "+port))
		case port == "":
			list = append(list, host)
		default:
			list = append(list, net.JoinHostPort(host, port))
		}
	}
	return list
}

// parseConninfo reads libpq's connection string, which may be a URI. A message never
// shows what is in it: passwords are.
func parseConninfo(s string) (conninfo, error) {
	if strings.ContainsRune(s, 0) {
		return nil, errNull
	}
	if name := strings.ToLower(s); strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://") {
		return parseURI(s)
	}
	var c conninfo
	for s = trimSpace(s); s != ""; s = trimSpace(s) {
		name, rest, found := strings.Cut(s, "=")
		name = strings.TrimRight(name, spaces)
		if !found || !isKeyword.MatchString(name) {
			return nil, fmt.Errorf("write KEYWORD=VALUE, and quotes around a value with spaces in it: there is no = after keyword %d", len(c)+1)
		}
		value, rest, err := cutValue(trimSpace(rest))
		if err != nil {
			return nil, fmt.Errorf("the value of %s: %w", name, err)
		}
		c, s = append(c, keyword{name, value}), rest
	}
	return c, nil
}

var isKeyword = regexp.MustCompile(`^\w+$`)

const spaces = " \t\n\r\v\f"

func trimSpace(s string) string { return strings.TrimLeft(s, spaces) }

// cutValue cuts a value off the front: up to white space, or up to the closing quote.
// A backslash takes what follows as it is.
func cutValue(s string) (value, rest string, err error) {
	quoted := strings.HasPrefix(s, "'")
	if quoted {
		s = s[1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '\\':
		case quoted && s[i] == '\'':
			return b.String(), s[i+1:], nil
		case !quoted && strings.IndexByte(spaces, s[i]) >= 0:
			return b.String(), s[i:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	if quoted {
		return "", "", errors.New("the closing quote is missing")
	}
	return b.String(), "", nil
}

// parseURI makes keywords of a URI and its options.
func parseURI(s string) (conninfo, error) {
	_, rest, _ := strings.Cut(s, "://")
	rest, query, _ := strings.Cut(rest, "?")
	u, err := parseAuthority(rest)
	if err != nil {
		return nil, err
	}
	if strings.Contains(query, "%00") {
		return nil, errNull
	}
	options, err := url.ParseQuery(query)
	if err != nil {
		return nil, errBadQuery
	}
	c := u.conninfo()
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if !isKeyword.MatchString(name) {
			return nil, errBadQuery
		}
		for _, v := range options[name] {
			c = append(c, keyword{name, v})
		}
	}
	return c, nil
}

// The keywords of libpq 17.
var (
	// understood are those that our driver understands.
	understood = []string{
		"host", "port", "dbname", "user", "password", "passfile", "service", "servicefile", "connect_timeout",
		"sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslsni", "sslcertmode", "sslnegotiation",
		"channel_binding", "require_auth", "target_session_attrs", "min_protocol_version", "max_protocol_version",
		"krbsrvname", "options", "application_name", "client_encoding",
	}
	// harmless are those that do nothing here, and that nobody relies on.
	harmless = []string{
		"fallback_application_name", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
		"tcp_user_timeout", "sslcompression", "ssl_max_protocol_version", "gsslib", "gssdelegation", "load_balance_hosts", "tty", "authtype",
	}
	// protective are those by which somebody asks for a protection that is not to be had.
	protective = []string{"requirepeer", "sslcrl", "sslcrldir", "gssencmode", "ssl_min_protocol_version", "replication"}
)

// dsn looks at the keywords of c, of which the driver gets what it understands.
// say is told of those that do nothing.
func (c conninfo) dsn(say func(text string)) (conninfo, error) {
	for _, k := range c {
		switch {
		case slices.Contains(understood, k.name):
		case slices.Contains(harmless, k.name):
			say(k.name + " is not used: it is about the C library of PostgreSQL")
		case k.name == "hostaddr" && c.get("host") != "":
			say("hostaddr is not used: the host is looked up by its name")
		case k.name == "hostaddr":
		case slices.Contains(protective, k.name) && !k.asksNothing():
			return nil, fmt.Errorf("%s=%s cannot be had", k.name, k.value)
		case slices.Contains(protective, k.name):
		default:
			candidates := slices.Concat(understood, harmless, protective)
			return nil, fmt.Errorf("%q is not a keyword of libpq%s", k.name, didYouMean(k.name, candidates))
		}
	}
	if addr := c.get("hostaddr"); addr != "" && c.get("host") == "" {
		c = append(c.without("host"), keyword{"host", addr})
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.without(slices.Concat(harmless, protective, []string{"hostaddr"})...), nil
}

// asksNothing reports whether the value of a protective keyword is one that is had
// anyway.
func (k keyword) asksNothing() bool {
	switch k.name {
	case "gssencmode":
		return k.value != "require"
	case "ssl_min_protocol_version":
		return k.value != "TLSv1.3"
	}
	return k.value == ""
}

// check finds what the driver would find when it connects.
func (c conninfo) check() error {
	for name, values := range map[string][]string{
		"sslmode":              {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
		"target_session_attrs": {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"},
		"channel_binding":      {"disable", "prefer", "require"},
	} {
		if v := c.get(name); v != "" && !slices.Contains(values, v) {
			return fmt.Errorf("%s: %q is not one of %s", name, v, strings.Join(values, ", "))
		}
	}
	hosts, ports := strings.Count(c.get("host"), ",")+1, strings.Count(c.get("port"), ",")+1
	if ports > 1 && ports != hosts {
		return fmt.Errorf("there are %d ports for %d hosts", ports, hosts)
	}
	for port := range strings.SplitSeq(c.get("port"), ",") {
		if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
			return fmt.Errorf("port: %q is not a number from 1 to 65535", port)
		}
	}
	if t := c.get("connect_timeout"); t != "" {
		if _, err := zconfig.Integer(t); err != nil {
			return fmt.Errorf("connect_timeout: %w", err)
		}
	}
	return nil
}
