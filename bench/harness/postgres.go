package harness

import (
	"errors"
	"net/url"
	"strconv"

	"github.com/zaridb/zari/internal/testpg"
)

// Postgres is a PostgreSQL of a benchmark's own, which syncs to disk as a real one does.
type Postgres struct{ *testpg.Server }

// StartPostgres starts one with some lines of postgresql.conf.
func StartPostgres(settings ...string) (*Postgres, error) {
	s, err := testpg.New(testpg.Options{Fsync: true, Settings: append(settings, "shared_buffers=256MB")})
	return &Postgres{s}, err
}

// Empty makes an empty database, in place of one of that name. What was written
// before is on the disk then: nobody pays for what others have written.
func (p *Postgres) Empty(name string) error {
	return errors.Join(p.Exec("DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"), p.Exec("CREATE DATABASE "+name), p.Exec("CHECKPOINT"))
}

// URL names a database for Zari.
func (p *Postgres) URL(name string) string {
	return "postgres://postgres@/" + name + "?" + url.Values{"host": {p.Dir}, "port": {strconv.Itoa(p.Port)}}.Encode()
}
