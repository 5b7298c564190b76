package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/zaridb/zari/bench/harness"
)

// The programs that are compared. Bare stands for the yardstick of a part.
const (
	python = "python"
	zari   = "zari"
	bare   = "bare"
)

var programs = []string{python, zari, bare}

// Report is the outcome of a comparison. Its JSON form is for other programs to
// follow figures over time: fields may be added.
type Report struct {
	Command string    `json:"command"`
	Date    time.Time `json:"date"`
	Seconds float64   `json:"seconds"` // that it took
	Cores   int       `json:"cores"`
	System  string    `json:"system"` // kernel and architecture
	Go      string    `json:"go"`
	Python  string    `json:"python"` // versions of Python, ZODB and ZEO
	Runs    int       `json:"runs"`
	Quick   bool      `json:"quick"` // then the figures mean nothing
	Figures []*Figure `json:"figures"`
}

// Figure is one thing that was measured of each program, run after run.
type Figure struct {
	Part   string               `json:"part"`
	Name   string               `json:"name"`
	Unit   string               `json:"unit"`
	Runs   map[string][]float64 `json:"runs"`   // by program
	Median map[string]float64   `json:"median"` // by program
	Ratio  map[string]float64   `json:"ratio"`  // of zari's median to the others'
	Goal   *Goal                `json:"goal,omitempty"`
}

// Goal is what the project demands of a figure.
type Goal struct {
	Of      string  `json:"of"` // the program that zari is held against
	AtLeast float64 `json:"at_least,omitempty"`
	AtMost  float64 `json:"at_most,omitempty"`
	Met     *bool   `json:"met"` // null where it could not be told
}

func newFigure(part, name, unit string, goal *Goal) *Figure {
	return &Figure{Part: part, Name: name, Unit: unit, Goal: goal,
		Runs: map[string][]float64{}, Median: map[string]float64{}, Ratio: map[string]float64{}}
}

// add adds a measurement of a program and brings the rest up to date. 0, or what
// is no number, stands for one that could not be made.
func (f *Figure) add(program string, v float64) {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	f.Runs[program] = append(f.Runs[program], v)
	f.Median[program] = harness.Median(f.Runs[program])
	for _, other := range programs {
		if base := f.Median[other]; other != zari && base > 0 && len(f.Runs[zari]) > 0 {
			f.Ratio[other] = f.Median[zari] / base
		}
	}
	if g := f.Goal; g != nil {
		if r, known := f.Ratio[g.Of]; known {
			met := (g.AtLeast == 0 || r >= g.AtLeast) && (g.AtMost == 0 || r <= g.AtMost)
			g.Met = &met
		}
	}
}

// spread returns how far the runs of a program lie apart, as a share of their
// median.
func (f *Figure) spread(program string) float64 {
	if f.Median[program] == 0 {
		return 0
	}
	return (slices.Max(f.Runs[program]) - slices.Min(f.Runs[program])) / f.Median[program]
}

// WriteTable writes the report as Markdown.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "`%s`, %s, %d cores, %s, %s, %s; medians of %d, %.0f s in all.\n\n",
		r.Command, r.Date.Format(time.DateOnly), r.Cores, r.System, r.Go, r.Python, r.Runs, r.Seconds)
	if r.Quick {
		b.WriteString("A quick run: it shows that everything works; the figures mean nothing.\n\n")
	}
	b.WriteString("| figure | python | zari | bare | zari / python | zari / bare | goal | spread |\n|---|--:|--:|--:|--:|--:|---|--:|\n")
	for _, f := range r.Figures {
		fmt.Fprintf(&b, "| %s, %s |", f.Name, f.Unit)
		for _, p := range programs {
			fmt.Fprintf(&b, " %s |", short(f.Median[p]))
		}
		fmt.Fprintf(&b, " %s | %s | %s | %s |\n", short(f.Ratio[python]), short(f.Ratio[bare]), f.Goal, f.spreads())
	}
	b.WriteString("\nSpread: how far the runs of python, zari and bare lie apart, in percent of the median.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *Figure) spreads() string {
	var s []string
	for _, p := range programs {
		if len(f.Runs[p]) > 0 {
			s = append(s, fmt.Sprintf("%.0f", 100*f.spread(p)))
		}
	}
	return strings.Join(s, " / ")
}

// String says what is demanded, and whether it was met.
func (g *Goal) String() string {
	if g == nil {
		return ""
	}
	verdict := "not measured"
	if g.Met != nil {
		verdict = map[bool]string{true: "met", false: "missed"}[*g.Met]
	}
	if g.AtLeast > 0 {
		return fmt.Sprintf("≥ %g of %s: %s", g.AtLeast, g.Of, verdict)
	}
	return fmt.Sprintf("≤ %g of %s: %s", g.AtMost, g.Of, verdict)
}

// short writes a number with three digits or so; 0 stands for none.
func short(v float64) string {
	switch {
	case v == 0:
		return ""
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	return fmt.Sprintf("%.*f", digits, v)
}

func newReport(ctx context.Context, l *lab) *Report {
	return &Report{
		Command: l.command, Date: l.began.UTC(), Cores: runtime.NumCPU(), Runs: l.runs, Quick: l.quick,
		Go: runtime.Version(), System: systemName(ctx), Python: pythonVersions(ctx, l.python), Figures: []*Figure{},
	}
}

func systemName(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "uname", "-srm").Output()
	if err != nil {
		return runtime.GOOS + " " + runtime.GOARCH
	}
	return strings.TrimSpace(string(out))
}

// pythonVersions says what the other side is, or nothing if it is not there.
func pythonVersions(ctx context.Context, program string) string {
	const script = `import sys, importlib.metadata as m
print("Python %d.%d.%d" % sys.version_info[:3], *("%s %s" % (p, m.version(p)) for p in ("ZODB", "ZEO")))`
	out, err := exec.CommandContext(ctx, program, "-c", script).Output()
	if err != nil {
		return "no Python"
	}
	return strings.TrimSpace(string(out))
}
