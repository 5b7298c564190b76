package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	load "github.com/zaridb/zari/bench"
)

//go:embed clients.py
var clientsProgram string

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

// measure measures one side in a database of its own.
func (b *bench) measure(ctx context.Context, db *database, s side) (*result, error) {
	name, err := db.create()
	if err != nil {
		return nil, err
	}
	defer db.drop(name)
	if strings.HasPrefix(s.name, "relstorage") {
		return b.clientsRun(ctx, db, nil, s, db.DSN(name))
	}
	z, err := b.serve(ctx, db.url(name))
	if err != nil {
		return nil, err
	}
	defer z.stop()
	if strings.HasPrefix(s.name, "python") {
		return b.clientsRun(ctx, db, z, s, z.address)
	}
	return b.rawRun(ctx, db, z, s)
}

// clientsRun lets Python clients work.
func (b *bench) clientsRun(ctx context.Context, db *database, z *server, s side, where string) (*result, error) {
	kind := strings.Replace(s.name, "python", "zeo", 1)
	program, err := os.CreateTemp("", "clients-*.py")
	if err != nil {
		return nil, err
	}
	defer os.Remove(program.Name())
	if _, err := program.WriteString(clientsProgram); err != nil {
		return nil, err
	}
	program.Close()
	cmd := exec.CommandContext(ctx, b.python, program.Name(), kind, where, strconv.Itoa(b.clients),
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
			before, err = measureCPU(db, z)
		case "ended":
			err = r.take(before, db, z)
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
func (b *bench) rawRun(ctx context.Context, db *database, z *server, s side) (*result, error) {
	o := load.Defaults()
	o.Address, o.Connections, o.Size, o.Duration, o.PID = z.address, b.clients, b.size, b.seconds, z.cmd.Process.Pid
	o.Objects, o.Warmup = 200*b.clients, 0
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
	before, err := measureCPU(db, z)
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
	return r, r.take(before, db, z)
}

// cpu is what processes have taken, in seconds.
type cpu struct{ server, database float64 }

func measureCPU(db *database, z *server) (c cpu, err error) {
	if c.database, err = db.cpu(); err != nil || z == nil {
		return c, err
	}
	took, err := load.CPUTime(z.cmd.Process.Pid)
	c.server = took.Seconds()
	return c, err
}

// take notes what has been taken since before.
func (r *result) take(before cpu, db *database, z *server) error {
	now, err := measureCPU(db, z)
	r.server, r.database = now.server-before.server, now.database-before.database
	return err
}

// server is a Zari that serves one database.
type server struct {
	address string
	cmd     *exec.Cmd
}

func (b *bench) serve(ctx context.Context, url string) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	z := &server{address: l.Addr().String()}
	l.Close()
	z.cmd = exec.Command(b.zari, "serve", "-a", z.address, "--metrics-address", "off", url)
	log, err := os.CreateTemp("", "zari-*.log")
	if err != nil {
		return nil, err
	}
	defer os.Remove(log.Name())
	z.cmd.Stdout, z.cmd.Stderr = log, log
	if err := z.cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	o := load.Defaults()
	o.Address = z.address
	if err := load.Ready(ctx, o); err != nil {
		z.stop()
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w; zari wrote:\n%s", err, said)
	}
	return z, nil
}

func (z *server) stop() {
	z.cmd.Process.Signal(syscall.SIGTERM)
	z.cmd.Wait()
}
