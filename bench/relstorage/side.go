package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	load "github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/bench/harness"
)

//go:embed clients.py
var clientsProgram []byte

// side is one way to work with the database.
type side struct {
	name string // relstorage, python or raw; see main.go
	work string // commit or load
}

var sides = []side{
	{"relstorage", "commit"}, {"python", "commit"}, {"raw", "commit"},
	{"relstorage", "load"}, {"python", "load"}, {"raw", "load"}, {"raw8", "load"},
	{"relstorage-uncached", "load"}, {"python-uncached", "load"},
}

// result is what one measurement gave.
type result struct {
	Operations float64 `json:"operations"`
	Seconds    float64 `json:"seconds"`
	P50        float64 `json:"p50"` // ms
	P99        float64 `json:"p99"` // ms
	ClientCPU  float64 `json:"client_cpu"`

	server   float64 // CPU seconds of Zari
	database float64 // CPU seconds of PostgreSQL, all its processes
}

// measure measures one side in an empty database.
func (b *bench) measure(ctx context.Context, s side) (*result, error) {
	const name = "bench"
	if err := b.db.Empty(name); err != nil {
		return nil, err
	}
	if strings.HasPrefix(s.name, "relstorage") {
		return b.clientsRun(ctx, nil, s, b.db.DSN(name))
	}
	z, err := harness.Zari(b.zari, b.db.URL(name)).Start(ctx, b.dir)
	if err != nil {
		return nil, err
	}
	defer z.Stop()
	if strings.HasPrefix(s.name, "python") {
		return b.clientsRun(ctx, z, s, z.Address)
	}
	return b.rawRun(ctx, z, s)
}

// clientsRun lets Python clients work.
func (b *bench) clientsRun(ctx context.Context, z *harness.Server, s side, where string) (*result, error) {
	kind := strings.Replace(s.name, "python", "zeo", 1)
	cmd := exec.CommandContext(ctx, b.python, filepath.Join(b.dir, "clients.py"), kind, where, strconv.Itoa(b.clients),
		strconv.FormatFloat(b.seconds.Seconds(), 'f', 1, 64), strconv.Itoa(b.size), s.work)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := new(result)
	said := bufio.NewScanner(out)
	var before cpu
	for said.Scan() {
		switch word := said.Text(); word {
		case "started":
			before, err = b.measureCPU(z)
		case "ended":
			err = b.take(r, before, z)
			in.Close()
		default:
			err = json.Unmarshal(said.Bytes(), r)
		}
		if err != nil {
			cmd.Process.Kill()
			break
		}
	}
	return r, errors.Join(err, cmd.Wait())
}

// rawRun lets the load generator work.
func (b *bench) rawRun(ctx context.Context, z *harness.Server, s side) (*result, error) {
	o := z.Options()
	o.Connections, o.Size, o.Duration, o.Objects, o.Warmup = b.clients, b.size, b.seconds, 200*b.clients, 0
	if s.name == "raw8" {
		o.InFlight = 8
	}
	workload := load.Commit
	if s.work == "load" {
		workload = load.Load
		if _, err := load.Run(ctx, load.Fill, o); err != nil {
			return nil, err
		}
	}
	before, err := b.measureCPU(z)
	if err != nil {
		return nil, err
	}
	got, err := load.Run(ctx, workload, o)
	if err != nil && got != nil {
		err = fmt.Errorf("%w: %q", err, got.Messages)
	}
	if err != nil {
		return nil, err
	}
	m := got.Measure(s.work)
	r := &result{Operations: float64(m.Operations), Seconds: m.Seconds, P50: m.Latency.P50 / 1000, P99: m.Latency.P99 / 1000}
	return r, b.take(r, before, z)
}

// cpu is what processes have taken.
type cpu struct{ server, database time.Duration }

func (b *bench) measureCPU(z *harness.Server) (c cpu, err error) {
	postgres, err := b.db.PID()
	if err != nil {
		return c, err
	}
	if c.database, err = load.FamilyCPUTime(postgres); err != nil || z == nil {
		return c, err
	}
	c.server, err = load.CPUTime(z.PID)
	return c, err
}

// take notes what has been taken since before.
func (b *bench) take(r *result, before cpu, z *harness.Server) error {
	now, err := b.measureCPU(z)
	r.server, r.database = (now.server - before.server).Seconds(), (now.database - before.database).Seconds()
	return err
}
