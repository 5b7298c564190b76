package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/zaridb/zari/internal/testpg"
)

// database is the PostgreSQL that all sides use.
type database struct {
	*testpg.Server
	made int
}

func startDatabase() (*database, error) {
	s, err := testpg.New(testpg.Options{Fsync: true, Settings: []string{"max_connections=200", "shared_buffers=256MB"}})
	if err != nil {
		return nil, err
	}
	return &database{Server: s}, nil
}

func (d *database) create() (name string, err error) {
	d.made++
	name = fmt.Sprintf("bench%d", d.made)
	return name, d.Exec("CREATE DATABASE " + name)
}

func (d *database) drop(name string) {
	if err := d.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
		fmt.Fprintln(os.Stderr, "relstorage:", err)
	}
}

// url names a database for Zari.
func (d *database) url(name string) string {
	return "postgres://postgres@/" + name + "?" + url.Values{"host": {d.Dir}, "port": {strconv.Itoa(d.Port)}, "keep_history": {"true"}}.Encode()
}

// cpu returns the CPU seconds that all processes of PostgreSQL have taken, those
// that have ended included. (Fields 14 to 17 of /proc/PID/stat, proc(5).)
func (d *database) cpu() (seconds float64, err error) {
	postmaster, err := d.PID()
	if err != nil {
		return 0, err
	}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var ticks int64
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		f := strings.Fields(rest)
		if len(f) < 15 {
			return 0, fmt.Errorf("cannot read %s", path)
		}
		own := filepath.Base(filepath.Dir(path)) == strconv.Itoa(postmaster)
		switch {
		case own: // and its children that have ended
			ticks += sum(f[11:15])
		case f[1] == strconv.Itoa(postmaster):
			ticks += sum(f[11:13])
		}
	}
	const perSecond = 100
	return float64(ticks) / perSecond, nil
}

func sum(fields []string) (n int64) {
	for _, f := range fields {
		v, _ := strconv.ParseInt(f, 10, 64) // the kernel wrote it
		n += v
	}
	return n
}
