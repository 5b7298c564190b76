package config

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/zaridb/zari/config/zconfig"
)

// Report says what a file would have run, for people and, as JSON, for programs.
type Report struct {
	File     string          `json:"file"`
	Server   *ServerReport   `json:"server,omitempty"` // absent: the file has storages only
	Storages []StorageReport `json:"storages"`
	Shared   []StorageReport `json:"shared,omitempty"` // storages that others use, and that are not served
	Logs     *LogReport      `json:"logs,omitempty"`   // absent: the server's go to standard error
	Notes    []LineReport    `json:"notes"`            // what does not do what it would do with Python's server
	Faults   []LineReport    `json:"faults"`           // why nothing would run; nothing else is said then
}

// ServerReport is a report of <zeo>.
type ServerReport struct {
	Address  string   `json:"address"`
	Metrics  string   `json:"metrics,omitempty"` // off; absent: the default, if it is free
	TLS      bool     `json:"tls"`
	Settings []string `json:"settings"` // what differs from the defaults, in plain words
}

// StorageReport is a report of a storage and its parts.
type StorageReport struct {
	Type  string          `json:"type"`
	Name  string          `json:"name"`
	File  string          `json:"file"`
	Line  int             `json:"line"`
	Is    string          `json:"is"` // in plain words
	Parts []StorageReport `json:"parts,omitempty"`
}

// LogReport is a report of <eventlog>.
type LogReport struct {
	Level string          `json:"level"`
	Files []LogFileReport `json:"files"`
}

// LogFileReport is a report of <logfile>.
type LogFileReport struct {
	Path  string `json:"path"`  // or "syslog at ADDRESS"
	Level string `json:"level"` // the least that gets there
	// Rotates tells that the server moves the file away by itself.
	Rotates bool `json:"rotates"`
}

// LineReport is a message about a line of a file.
type LineReport struct {
	File string `json:"file"`
	Line int    `json:"line"` // 0: the file as a whole
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// Check reads the file at path and reports what it would have run. With here it
// also looks whether the files and folders that are needed are on this machine. env
// looks up environment variables, nil meaning the process's own.
func Check(path string, here bool, env func(string) (string, bool)) *Report {
	c, err := LoadStorages(path, env)
	if err == nil && here {
		var notes []Note
		notes, err = Look(c)
		c.Notes = append(c.Notes, notes...)
	}
	if err != nil {
		r := newReport(path)
		r.Faults = faults(path, err)
		return r
	}
	return c.report(path)
}

func newReport(path string) *Report {
	return &Report{File: path, Storages: []StorageReport{}, Notes: []LineReport{}, Faults: []LineReport{}}
}

func (c *Config) report(path string) *Report {
	r := newReport(path)
	if c.ZEO.Pos.Line != 0 {
		r.Server = c.ZEO.report()
	}
	for _, s := range c.Storages {
		r.Storages = append(r.Storages, reportStorage(s))
	}
	for _, s := range c.Defined {
		r.Shared = append(r.Shared, reportStorage(s))
	}
	if c.EventLog != nil {
		r.Logs = c.EventLog.report()
	}
	for _, n := range c.Notes {
		r.Notes = append(r.Notes, LineReport{File: n.Pos.File, Line: n.Pos.Line, Text: n.Text})
	}
	return r
}

func faults(path string, err error) []LineReport {
	var list Errors
	if !errors.As(err, &list) {
		one, ok := errors.AsType[*zconfig.Error](err)
		if !ok {
			return []LineReport{{File: path, Text: err.Error()}}
		}
		list = Errors{one}
	}
	var lines []LineReport
	for _, e := range list {
		lines = append(lines, LineReport{File: e.Pos.File, Line: e.Pos.Line, Text: e.Msg, Hint: e.Hint})
	}
	return lines
}

func (s *Server) report() *ServerReport {
	p := phrase{}
	p.add(s.ReadOnly, "no client may write")
	p.add(s.InvalidationQueueSize != defaultQueueSize, "%d transactions are remembered for clients that come back", s.InvalidationQueueSize)
	p.add(s.InvalidationAge > 0, "transactions are remembered for %v for clients that come back", s.InvalidationAge)
	p.add(s.TransactionTimeout > 0, "a transaction may take %v from vote to finish", s.TransactionTimeout)
	p.add(s.ClientConflictResolution, "clients resolve conflicts")
	p.add(!s.MergeSplits, "splits in BTrees are conflicts")
	p.add(s.Msgpack, "messages are msgpack")
	p.add(s.PIDFilename != "", "the process id is in %s", s.PIDFilename)
	p.add(s.MaxFrameSize > 0, "a message has at most %s", Bytes(s.MaxFrameSize))
	p.add(s.MaxConnections > 0, "at most %d connections", s.MaxConnections)
	p.add(s.MaxTransactionMemory > 0, "%s of a transaction are kept in memory", Bytes(s.MaxTransactionMemory))
	p.add(s.MaxIterators > 0, "at most %d iterators for one client", s.MaxIterators)
	p.add(s.MaxQueueSize > 0, "at most %s wait for a client that does not read", Bytes(s.MaxQueueSize))
	p.add(s.SlowCommit > 0, "commits that take longer than %v are logged", s.SlowCommit)
	r := &ServerReport{Address: where(s.Address), TLS: s.SSL != nil, Settings: p}
	switch {
	case s.NoMetrics:
		r.Metrics = "off"
	case s.MetricsAddress != nil:
		r.Metrics = where(*s.MetricsAddress)
	}
	return r
}

func reportStorage(s Storage) StorageReport {
	h := s.Head()
	r := StorageReport{Type: h.Type, Name: h.Name, File: h.Pos.File, Line: h.Pos.Line, Is: Describe(s)}
	for _, part := range s.Parts() {
		r.Parts = append(r.Parts, reportStorage(part))
	}
	return r
}

func (e *EventLog) report() *LogReport {
	r := &LogReport{Level: e.Level.String(), Files: []LogFileReport{}}
	for _, s := range e.Syslogs {
		r.Files = append(r.Files, LogFileReport{Path: "syslog at " + s.Address.String(), Level: max(s.Level, e.Level).String()})
	}
	for _, f := range e.Files {
		r.Files = append(r.Files, LogFileReport{Path: f.Path, Level: max(f.Level, e.Level).String(), Rotates: f.Rotation.On()})
	}
	return r
}

// WriteTo writes the report for people.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	if len(r.Faults) > 0 {
		writeLines(&b, "faults", r.Faults)
	} else {
		r.writeServer(&b)
		writeStorages(&b, "storages", r.Storages)
		writeStorages(&b, "storages that others use", r.Shared)
		r.writeLogs(&b)
		writeLines(&b, "notes", r.Notes)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func writeLines(b *strings.Builder, title string, lines []LineReport) {
	if len(lines) > 0 {
		b.WriteString(title + "\n")
	}
	for _, l := range lines {
		fmt.Fprintf(b, "  %s\n", l)
	}
}

func writeStorages(b *strings.Builder, title string, list []StorageReport) {
	if len(list) > 0 {
		b.WriteString(title + "\n")
	}
	for _, s := range list {
		s.write(b, "  ", fmt.Sprintf("%q ", s.Name))
	}
}

func (r *Report) writeServer(b *strings.Builder) {
	if r.Server == nil {
		b.WriteString("server\n  none: the file names storages only\n")
		return
	}
	tls := ", without TLS"
	if r.Server.TLS {
		tls = ", with TLS"
	}
	fmt.Fprintf(b, "server\n  clients connect to %s%s\n", r.Server.Address, tls)
	switch r.Server.Metrics {
	case "":
	case "off":
		b.WriteString("  no metrics\n")
	default:
		fmt.Fprintf(b, "  metrics at %s\n", r.Server.Metrics)
	}
	for _, s := range r.Server.Settings {
		fmt.Fprintf(b, "  %s\n", s)
	}
}

func (s StorageReport) write(b *strings.Builder, indent, name string) {
	fmt.Fprintf(b, "%s%s<%s>: %s\n", indent, name, s.Type, s.Is)
	for _, part := range s.Parts {
		name := ""
		if s.Type == "demostorage" && part.Name == "changes" {
			name = "changes "
		}
		part.write(b, indent+"  ", name)
	}
}

func (r *Report) writeLogs(b *strings.Builder) {
	if r.Server == nil {
		return // what a file without a server says of logs is not about Zari's
	}
	b.WriteString("logs\n")
	switch {
	case r.Logs == nil:
		b.WriteString("  standard error, from level INFO\n")
	case len(r.Logs.Files) == 0:
		b.WriteString("  none: <eventlog> is empty\n")
	default:
		for _, f := range r.Logs.Files {
			fmt.Fprintf(b, "  %s, from level %s", f.Path, f.Level)
			if f.Rotates {
				b.WriteString(", rotates itself")
			}
			b.WriteString("\n")
		}
	}
}

// String returns "FILE:LINE: text (hint)".
func (l LineReport) String() string {
	return (&zconfig.Error{Pos: zconfig.Pos{File: l.File, Line: l.Line}, Msg: l.Text, Hint: l.Hint}).Error()
}
