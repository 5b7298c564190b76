package postgres

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options are the settings of a DB. Only DSN is required.
type Options struct {
	// DSN is how to connect: libpq's keywords and values, or a URL. Several hosts
	// may be named, and are tried in their order: "host=a,b port=5432,5432".
	// With several, the one that takes writes is wanted, unless
	// target_session_attrs says otherwise.
	DSN string

	// Replicas, if not nil, returns hosts, host:port each, that take the place of
	// DSN's, as RelStorage's replica-conf. The first that takes writes is used. It is
	// asked for each new connection, and may be called concurrently.
	Replicas func() []string

	// Shared says that others write too: triggers tell of their commits, and a
	// history-free database keeps for a while what they overwrite.
	Shared bool

	// Readers bounds the connections for loads. Default 8. Writers bounds those for
	// everything else that is short. Default 4.
	Readers, Writers int

	// Votes bounds the transactions that hold locks at one time in shared mode, one
	// connection each. Default 32.
	Votes int

	// Poll is how often others' commits are looked for in shared mode, should a
	// notification get lost. Default 5 s.
	Poll time.Duration

	// Patience is how long an unreachable server is tried, for instance until its
	// standby has taken over. Default 30 s; negative: not at all.
	Patience time.Duration
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		value *int
		def   int
	}{{&o.Readers, 8}, {&o.Writers, 4}, {&o.Votes, 32}} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	if o.Poll <= 0 {
		o.Poll = 5 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	return o
}

// clientOnly are libpq's keywords about its own side. pgx does not know them, and
// the server does not either.
var clientOnly = []string{
	"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
	"sslcompression", "sslcrl", "sslcrldir", "sslcertmode", "gssencmode", "gsslib", "gssdelegation", "krbsrvname",
	"requirepeer", "fallback_application_name", "load_balance_hosts",
}

// config returns how to connect.
func (o Options) config() (*pgxpool.Config, error) {
	dsn, err := o.dsn()
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL's dsn: %w", err) // pgx leaves the password out
	}
	params := config.ConnConfig.RuntimeParams
	if params["hostaddr"] != "" {
		return nil, fmt.Errorf("PostgreSQL's dsn: hostaddr is not supported, write the address as host")
	}
	for _, name := range clientOnly {
		delete(params, name)
	}
	if params["application_name"] == "" {
		params["application_name"] = "zari"
	}
	// The server shall find out soon that we are gone: our locks go with the session.
	setDefault(params, "tcp_keepalives_idle", "10")
	setDefault(params, "tcp_keepalives_interval", "5")
	setDefault(params, "tcp_keepalives_count", "4")
	// And we, that it is.
	dialer := &net.Dialer{
		Timeout:         10 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 5},
	}
	config.ConnConfig.DialFunc = dialer.DialContext
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	return config, nil
}

func setDefault(params map[string]string, name, value string) {
	if _, ok := params[name]; !ok {
		params[name] = value
	}
}

// dsn returns DSN with the replicas in it, and with the wish for a server that takes
// writes where there are several to choose from.
func (o Options) dsn() (string, error) {
	dsn := o.DSN
	if o.Replicas != nil {
		hosts, ports, err := splitReplicas(o.Replicas())
		if err != nil {
			return "", err
		}
		dsn = with(dsn, "host", hosts)
		if ports != "" {
			dsn = with(dsn, "port", ports)
		}
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return "", fmt.Errorf("PostgreSQL's dsn: %w", err)
	}
	first := config.ConnConfig.Host
	several := slices.ContainsFunc(config.ConnConfig.Fallbacks, func(f *pgconn.FallbackConfig) bool {
		return f.Host != first || f.Port != config.ConnConfig.Port
	})
	if several && !strings.Contains(dsn, "target_session_attrs") {
		dsn = with(dsn, "target_session_attrs", "read-write")
	}
	return dsn, nil
}

// splitReplicas returns the hosts and the ports of RelStorage's list. Without any
// port the DSN's counts.
func splitReplicas(list []string) (hosts, ports string, err error) {
	var h, p []string
	some := false
	for _, replica := range list {
		host, port := replica, ""
		if !strings.HasPrefix(replica, "/") && strings.Contains(replica, ":") {
			if host, port, err = net.SplitHostPort(replica); err != nil {
				return "", "", fmt.Errorf("replica %q: %w", replica, err)
			}
			some = true
		}
		h, p = append(h, host), append(p, port)
	}
	if !some {
		return strings.Join(h, ","), "", nil
	}
	for i := range p {
		if p[i] == "" {
			p[i] = "5432"
		}
	}
	return strings.Join(h, ","), strings.Join(p, ","), nil
}

// with returns the DSN with one keyword set, in whichever of its two forms it is.
// Of keywords the last one counts, of a URL's parameters the first.
func with(dsn, keyword, value string) string {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value)
		return strings.TrimSpace(fmt.Sprintf("%s %s='%s'", dsn, keyword, quoted))
	}
	head, params, some := strings.Cut(dsn, "?")
	dsn = head + "?" + keyword + "=" + url.QueryEscape(value)
	if some {
		dsn += "&" + params
	}
	return dsn
}
