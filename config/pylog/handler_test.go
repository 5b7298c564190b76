package pylog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"
)

func compile(t testing.TB, format string) *Format {
	t.Helper()
	f, err := Compile(format, DefaultDateFormat)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestHandler(t *testing.T) {
	var out bytes.Buffer
	h := NewHandler(&out, compile(t, "%(levelname)s %(name)s %(message)s"), slog.LevelInfo)
	log := slog.New(h)
	log.Debug("hidden")
	log.Info("plain")
	log.Warn("attrs", "n", 3, "s", "two words", "empty", "", "t", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	log = log.With(NameKey, "ZEO.StorageServer", "conn", "a=b")
	log.Error("with", "err", errors.New("line one\nINFO fake"))
	log.WithGroup("g").Info("grouped", "k", 1, NameKey, "x", slog.Group("h", "i", 2), slog.Group("", "j", 3), slog.Attr{})
	log.Log(t.Context(), slog.LevelError+4, "top", "bad\xff", "\u202e", NameKey, "ZEO.runzeo")
	want := `INFO zari plain
WARNING zari attrs n=3 s="two words" empty="" t=2026-01-02T03:04:05Z
ERROR ZEO.StorageServer with conn="a=b" err="line one\nINFO fake"
INFO ZEO.StorageServer grouped conn="a=b" g.k=1 g.logger=x g.h.i=2 g.j=3
CRITICAL ZEO.runzeo top conn="a=b" "bad\xff"="\u202e"
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestHandlerSource(t *testing.T) {
	var out bytes.Buffer
	slog.New(NewHandler(&out, compile(t, "%(filename)s %(funcName)s"), nil)).Debug("x")
	if got := out.String(); got != "handler_test.go pylog.TestHandlerSource\n" {
		t.Errorf("%q", got)
	}
}

// The handler keeps the rules of package slog, as far as text can show.
func TestSlogtest(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return NewHandler(&out, compile(t, "time=x level=%(levelname)s msg=%(message)s"), nil)
	}, func(t *testing.T) map[string]any {
		if strings.HasSuffix(t.Name(), "zero-time") {
			t.Skip("a line of Python's logging always has a time")
		}
		return nest(out.String())
	})
}

// nest reads "a=1 b.c=2" into nested maps.
func nest(s string) map[string]any {
	m := make(map[string]any)
	for _, word := range strings.Fields(s) {
		key, value, _ := strings.Cut(word, "=")
		at := m
		for {
			group, rest, ok := strings.Cut(key, ".")
			if !ok {
				break
			}
			if at[group] == nil {
				at[group] = make(map[string]any)
			}
			at, key = at[group].(map[string]any), rest
		}
		at[key] = value
	}
	return m
}

func TestHandlerConcurrently(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewHandler(&out, compile(t, "%(message)s"), nil))
	var wg sync.WaitGroup
	for i := range 8 {
		derived := log.With("w", i)
		wg.Go(func() {
			for range 100 {
				derived.Info("m")
			}
		})
	}
	wg.Wait()
	counts := make(map[string]int)
	for l := range strings.Lines(out.String()) {
		counts[l]++
	}
	for i := range 8 {
		if l := fmt.Sprintf("m w=%d\n", i); counts[l] != 100 {
			t.Errorf("%d lines %q, want 100", counts[l], l)
		}
	}
}

func TestLevels(t *testing.T) {
	for in, want := range map[string]Level{"INFO": Info, "warn": Warning, "fatal": Critical, "blather": 15, "0": 0, "50": 50, "all": 1} {
		if got, err := ParseLevel(in); err != nil || got != want {
			t.Errorf("ParseLevel(%q) = %v, %v", in, int(got), err)
		}
	}
	for _, in := range []string{"", "loud", "-1", "51", "1.5"} {
		if got, err := ParseLevel(in); err == nil {
			t.Errorf("ParseLevel(%q) = %v", in, int(got))
		}
	}
	for l, want := range map[Level]slog.Level{Debug: slog.LevelDebug, Info: slog.LevelInfo, Warning: slog.LevelWarn, Error: slog.LevelError, Critical: 12, 15: -2, 5: -6} {
		if l.Slog() != want || fromSlog(want) != l {
			t.Errorf("%d: Slog is %d, and back %d; want %d", l, l.Slog(), fromSlog(want), want)
		}
	}
	if fromSlog(-1000) != 1 || fromSlog(1000) != Critical || NotSet.String() != "NOTSET" || Level(1).String() != "DEBUG" {
		t.Error("levels outside Python's range")
	}
}

func TestFileReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zeo.log")
	f, err := Open(path, true, Rotation{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a delayed file is there: %v", err)
	}
	write(t, f, "one\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, f, "two\n")
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, f, "three\n")
	wantFile(t, path+".1", "one\ntwo\n")
	wantFile(t, path, "three\n")

	// A path that cannot be opened leaves the old file in use.
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o777)); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err == nil {
		t.Error("a folder was opened")
	}
	write(t, f, "four\n")
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	if err := f.Reopen(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Reopen after Close: %v", err)
	}
}

func write(t *testing.T, f *File, s string) {
	t.Helper()
	if _, err := f.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
	}
}

func BenchmarkHandle(b *testing.B) {
	log := slog.New(NewHandler(discard{}, compile(b, DefaultFormat), nil)).With(NameKey, "ZEO.StorageServer")
	b.ReportAllocs()
	for b.Loop() {
		log.Info("disconnected", "conn", 17, "peer", "127.0.0.1:1234")
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
