package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/zaridb/zari/transfer"
)

// progressBar tells how far long work has come: on a terminal in one line that
// changes, elsewhere in a line every few seconds, which is JSON if that is wanted.
type progressBar struct {
	w        io.Writer
	json     bool
	terminal bool
	every    time.Duration

	what   string
	began  time.Time
	last   time.Time
	start  int64 // Done when the work began
	points []progressPoint
	drawn  int // length of the line on the terminal
}

// progressPoint is a moment of the last seconds, from which the rate is told.
type progressPoint struct {
	at    time.Time
	bytes int64
	done  int64
}

// rateOver is how far back the rate looks.
const rateOver = 10 * time.Second

func newProgressBar(w io.Writer, asJSON bool) *progressBar {
	p := &progressBar{w: w, json: asJSON, every: 5 * time.Second}
	if f, ok := w.(*os.File); ok && !asJSON {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.terminal, p.every = true, 200*time.Millisecond
		}
	}
	return p
}

// begin starts a piece of work.
func (p *progressBar) begin(what string) {
	now := time.Now()
	p.what, p.began, p.last, p.points, p.start = what, now, now, nil, -1
}

// show tells how far it is, if it is time to.
func (p *progressBar) show(x transfer.Progress) {
	now := time.Now()
	if p.start < 0 {
		p.start = x.Done
		p.points = append(p.points, progressPoint{at: p.began, done: x.Done})
	}
	if now.Sub(p.last) < p.every {
		return
	}
	p.last = now
	p.points = append(p.points, progressPoint{now, x.Bytes, x.Done})
	for len(p.points) > 2 && now.Sub(p.points[1].at) > rateOver {
		p.points = p.points[1:]
	}
	p.tell(p.line(x, now))
}

// progressLine is what there is to tell.
type progressLine struct {
	What           string  `json:"progress"`
	TID            string  `json:"tid"`
	Transactions   int64   `json:"transactions"`
	Records        int64   `json:"records"`
	Blobs          int64   `json:"blobs"`
	Bytes          int64   `json:"bytes"`
	BytesPerSecond float64 `json:"bytes_per_second"`
	Percent        float64 `json:"percent,omitempty"`      // not known: 0
	SecondsLeft    float64 `json:"seconds_left,omitempty"` // likewise
}

func (p *progressBar) line(x transfer.Progress, now time.Time) progressLine {
	first, last := p.points[0], p.points[len(p.points)-1]
	seconds := max(last.at.Sub(first.at).Seconds(), 1e-3)
	l := progressLine{
		What: p.what, TID: x.TID.String(), Transactions: x.Transactions, Records: x.Records, Blobs: x.Blobs, Bytes: x.Bytes,
		BytesPerSecond: float64(last.bytes-first.bytes) / seconds,
	}
	if x.Total > 0 {
		l.Percent = min(100, float64(x.Done)*100/float64(x.Total))
		if rate := float64(last.done-first.done) / seconds; rate > 0 {
			l.SecondsLeft = float64(max(0, x.Total-x.Done)) / rate
		}
	}
	return l
}

func (p *progressBar) tell(l progressLine) {
	if p.json {
		json.NewEncoder(p.w).Encode(l)
		return
	}
	text := fmt.Sprintf("%s: %d transactions, %s, %s/s", l.What, l.Transactions, bytesText(l.Bytes), bytesText(int64(l.BytesPerSecond)))
	if l.Percent > 0 {
		text += fmt.Sprintf(", %.0f %%", l.Percent)
	}
	if l.SecondsLeft > 0 {
		text += ", " + (time.Duration(l.SecondsLeft) * time.Second).String() + " left"
	}
	if !p.terminal {
		fmt.Fprintln(p.w, text)
		return
	}
	fmt.Fprintf(p.w, "\r%-*s", p.drawn, text)
	p.drawn = len(text)
}

// end removes the line from the terminal.
func (p *progressBar) end() {
	if p.drawn > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.drawn))
		p.drawn = 0
	}
}

// bytesText shows a number of bytes for people.
func bytesText(n int64) string {
	switch f := float64(n); {
	case f >= 1e9:
		return fmt.Sprintf("%.2f GB", f/1e9)
	case f >= 1e6:
		return fmt.Sprintf("%.1f MB", f/1e6)
	case f >= 1e3:
		return fmt.Sprintf("%.1f kB", f/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}
