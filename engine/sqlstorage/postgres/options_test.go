package postgres

import (
	"fmt"
	"strings"
	"testing"
)

func TestConfigNamesTheHosts(t *testing.T) {
	for _, c := range []struct {
		opts Options
		want string // hosts and ports in their order, and whether one that takes writes is wanted
	}{
		{Options{DSN: "host=a dbname=d"}, "a:5432"},
		{Options{DSN: "host=a,b port=1,2 dbname=d"}, "a:1 b:2 writable"},
		{Options{DSN: "host=a,b port=1 target_session_attrs=any"}, "a:1 b:1"},
		{Options{DSN: "postgresql://u:p@a:1,b:2/d"}, "a:1 b:2 writable"},
		{Options{DSN: "postgres://u@a/d?sslmode=disable", Replicas: list("x", "y:7")}, "x:5432 y:7 writable"},
		{Options{DSN: "host=a port=6 user='it\\'s' password='a b'", Replicas: list("x", "y")}, "x:6 y:6 writable"},
		{Options{DSN: "host=a dbname=d", Replicas: list("x:1")}, "x:1"},
		{Options{DSN: "dbname=d", Replicas: list("/run/pg", "[::1]:5433")}, "/run/pg:5432 ::1:5433 writable"},
	} {
		t.Setenv("PGTARGETSESSIONATTRS", "")
		config, err := c.opts.config()
		if err != nil {
			t.Errorf("%+v: %v", c.opts, err)
			continue
		}
		cc := config.ConnConfig
		got := []string{fmt.Sprintf("%s:%d", cc.Host, cc.Port)}
		for _, f := range cc.Fallbacks {
			if h := fmt.Sprintf("%s:%d", f.Host, f.Port); h != got[len(got)-1] { // with and without TLS
				got = append(got, h)
			}
		}
		if cc.ValidateConnect != nil {
			got = append(got, "writable")
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%+v connects to %s, want %s", c.opts, s, c.want)
		}
	}
}

func TestConfigKeepsThePasswordToItself(t *testing.T) {
	for _, dsn := range []string{"host=a port=x password=secret", "postgres://u:secret@a:x/d", "host=a password=secret sslmode=nonsense"} {
		_, err := Options{DSN: dsn}.config()
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	config, err := Options{DSN: "host=a,b user=u password=secret dbname=d"}.config()
	if err != nil {
		t.Fatal(err)
	}
	if name := nameOf(config.ConnConfig); name != "postgresql://a:5432,b:5432/d" {
		t.Errorf("the name is %s", name)
	}
}

func TestNumbered(t *testing.T) {
	for statement, want := range map[string]string{
		"SELECT 1":                       "SELECT 1",
		"a = ? AND b = ANY(?) AND c = ?": "a = $1 AND b = ANY($2) AND c = $3",
	} {
		for range 2 {
			if got := numbered(statement); got != want {
				t.Errorf("numbered(%q) = %q, want %q", statement, got, want)
			}
		}
	}
}

func list(servers ...string) func() []string { return func() []string { return servers } }
