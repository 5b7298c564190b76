package bench

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is the outcome of a run. Its JSON form is stable: fields may be added,
// and none changes its meaning. Times are in seconds but for latencies, which
// are in microseconds; sizes are in bytes.
type Result struct {
	Workload    Workload  `json:"workload"`
	Address     string    `json:"address"`
	Codec       string    `json:"codec"` // "pickle" or "msgpack"
	Connections int       `json:"connections"`
	InFlight    int       `json:"in_flight"`
	Objects     int       `json:"objects"`
	Size        int       `json:"size"`
	PerTxn      int       `json:"per_commit"`
	Pick        Pick      `json:"pick"`
	Seed        uint64    `json:"seed"`
	Began       time.Time `json:"began"`
	Seconds     float64   `json:"seconds"` // measured
	Cores       int       `json:"cores"`   // of the generator's machine
	Measures    []Measure `json:"measures"`

	Conflicts uint64   `json:"conflicts"` // commits refused because of another
	Missing   uint64   `json:"missing"`   // loads of objects that are not there
	Errors    uint64   `json:"errors"`    // answers that were neither, and lost connections
	Messages  []string `json:"messages"`  // the first few different errors

	// Server is nil where the server's process was not found.
	Server *Server `json:"server"`
}

// Measure is what was measured of one kind of operation. Operations that ended
// in a conflict or an error are in none.
type Measure struct {
	Name       string  `json:"name"` // load, commit, commit-alone, object
	Operations uint64  `json:"operations"`
	Seconds    float64 `json:"seconds"`
	Rate       float64 `json:"rate"` // operations per second

	// PerCPU is the number of operations for each second of the server's
	// processor time, 0 where that is not known or too short to tell.
	PerCPU float64 `json:"per_cpu_second"`

	Latency Latency `json:"latency_us"`
}

// Latency is a distribution of latencies, in microseconds.
type Latency struct {
	Min  float64 `json:"min"`
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Server is what is known of the server's process.
type Server struct {
	PID        int     `json:"pid"`
	CPUSeconds float64 `json:"cpu_seconds"` // taken while measuring, user and system
	Memory     int64   `json:"memory"`      // resident at the end
	PeakMemory int64   `json:"peak_memory"` // the most since it was started
}

// ErrOperations says that a run ended with failed operations. The Result says
// how many and which.
var ErrOperations = errors.New("bench: some operations failed")

// Err returns ErrOperations if there were errors. Conflicts and missing objects
// are answers, not errors.
func (r *Result) Err() error {
	if r.Errors > 0 {
		return ErrOperations
	}
	return nil
}

// Measure returns the measure of that name, or one without operations.
func (r *Result) Measure(name string) Measure {
	for _, m := range r.Measures {
		if m.Name == name {
			return m
		}
	}
	return Measure{Name: name}
}

// WriteTable writes the result for people.
func (r *Result) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s: %d connections, %s, %.1f s\n", r.Workload, r.Address, r.Connections, r.Codec, r.Seconds)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\toperations\tper second\tper server CPU second\tmean\tp50\tp90\tp99\tp99.9\tmax\t")
	for _, m := range r.Measures {
		l := m.Latency
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", m.Name, m.Operations, number(m.Rate), number(m.PerCPU),
			micros(l.Mean), micros(l.P50), micros(l.P90), micros(l.P99), micros(l.P999), micros(l.Max))
	}
	t.Flush()
	r.writeNotes(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Result) writeNotes(b *strings.Builder) {
	if s := r.Server; s != nil {
		fmt.Fprintf(b, "server: process %d, %.2f CPU seconds, %.0f MB of memory (at most %.0f)\n",
			s.PID, s.CPUSeconds, float64(s.Memory)/1e6, float64(s.PeakMemory)/1e6)
	} else {
		fmt.Fprintln(b, "server: its process was not found on this machine, so its CPU time is not known (--pid names it)")
	}
	if r.Conflicts+r.Missing+r.Errors > 0 {
		fmt.Fprintf(b, "conflicts %d, missing objects %d, errors %d\n", r.Conflicts, r.Missing, r.Errors)
	}
	if r.Operations() == 0 && r.Missing > 0 {
		fmt.Fprintln(b, "hint: there are none of these objects; `zari bench fill` makes them, and --first-oid and --objects say which")
	}
	for _, m := range r.Messages {
		fmt.Fprintf(b, "error: %s\n", m)
	}
}

// Operations returns the number of operations of all kinds.
func (r *Result) Operations() (n uint64) {
	for _, m := range r.Measures {
		n += m.Operations
	}
	return n
}

// number writes a rate with the digits that mean something.
func number(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// micros writes microseconds as a duration with three digits or so; 0 stands for
// none.
func micros(us float64) string {
	d := time.Duration(us * 1e3)
	switch {
	case d == 0:
		return "-"
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(100 * time.Nanosecond).String()
}

func newResult(w Workload, o *Options) *Result {
	return &Result{
		Workload: w, Address: o.Address, Codec: o.Codec.String(), Connections: o.Connections,
		InFlight: o.InFlight, Objects: o.Objects, Size: o.Size, PerTxn: o.PerTxn, Pick: o.Pick, Seed: o.Seed,
		Began: time.Now().UTC(), Cores: runtime.NumCPU(), Messages: []string{},
	}
}

func latency(h *Histogram) Latency {
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	return Latency{
		Min: us(h.Min()), Mean: us(h.Mean()), P50: us(h.Quantile(0.5)), P90: us(h.Quantile(0.9)),
		P99: us(h.Quantile(0.99)), P999: us(h.Quantile(0.999)), Max: us(h.Max()),
	}
}
