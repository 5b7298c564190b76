// Copy measures `zari copy` beside copyTransactionsFrom of Python's ZODB, from a
// Data.fs with blobs to another one.
//
//	go run ./bench/copy [flags]       (make bench builds bin/zari before)
//
// It generates the source, copies it with both in turns, compares the copies, and
// prints medians and their ratio. Python's time is that of the copy alone, Zari's
// is that of its whole process.
//
// The Python with ZODB is $ZARI_PYTHON or .venv/bin/python.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed generate.py
var generateProgram string

//go:embed copy.py
var copyProgram string

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	b, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "copy:", err)
		os.Exit(2)
	}
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "copy:", err)
		os.Exit(1)
	}
}

// bench is what the command line asks for.
type bench struct {
	zari, python string
	dir          string
	size, blobs  int // megabytes
	runs         int

	times map[string][]float64
}

func parse(args []string) (*bench, error) {
	b := &bench{times: make(map[string][]float64)}
	fs := flag.NewFlagSet("copy", flag.ContinueOnError)
	fs.StringVar(&b.zari, "zari", filepath.Join("bin", "zari"), "the zari `program`")
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		python = filepath.Join(".venv", "bin", "python")
	}
	fs.StringVar(&b.python, "python", python, "a Python `program` with ZODB")
	fs.StringVar(&b.dir, "dir", "", "`directory` for the files, three times their size (default a temporary one)")
	fs.IntVar(&b.size, "size", 2000, "megabytes of the Data.fs")
	fs.IntVar(&b.blobs, "blobs", 500, "megabytes of the blobs")
	fs.IntVar(&b.runs, "runs", 3, "copies by each")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 || b.size < 1 || b.blobs < 0 || b.runs < 1 {
		return nil, errors.New("there are only flags, and their numbers are positive")
	}
	return b, nil
}

func (b *bench) run(ctx context.Context) error {
	dir, err := os.MkdirTemp(b.dir, "zari-bench-copy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	source := filepath.Join(dir, "source")
	if err := os.Mkdir(source, 0o700); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "generating %d MB with %d MB of blobs\n", b.size, b.blobs)
	if _, err := b.runPython(ctx, generateProgram, source, strconv.Itoa(b.size), strconv.Itoa(b.blobs)); err != nil {
		return err
	}
	for i := range b.runs {
		for _, program := range []struct {
			name string
			copy func(ctx context.Context, from, to string) (float64, error)
		}{{"python", b.copyByPython}, {"zari", b.copyByZari}} {
			to := filepath.Join(dir, program.name)
			if err := errors.Join(os.RemoveAll(to), os.Mkdir(to, 0o700)); err != nil {
				return err
			}
			syscall.Sync() // nobody pays for what others have written
			seconds, err := program.copy(ctx, source, to)
			if err != nil {
				return fmt.Errorf("%s: %w", program.name, err)
			}
			b.times[program.name] = append(b.times[program.name], seconds)
			fmt.Fprintf(os.Stderr, "run %d: %-6s %8.2f s\n", i+1, program.name, seconds)
		}
	}
	for _, name := range []string{"python", "zari"} {
		if err := b.compare(ctx, source, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("the copy by %s: %w", name, err)
		}
	}
	return b.print(source)
}

func (b *bench) copyByPython(ctx context.Context, from, to string) (float64, error) {
	out, err := b.runPython(ctx, copyProgram, from, to)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(out), 64)
}

func (b *bench) runPython(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, b.python, append([]string{"-c", program}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return string(out), err
}

// url names the storage in a folder.
func url(dir string) string {
	return "file://" + filepath.Join(dir, "Data.fs") + "?blobstorage_dir=" + filepath.Join(dir, "blobs")
}

func (b *bench) runZari(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, b.zari, append([]string{"copy"}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

func (b *bench) copyByZari(ctx context.Context, from, to string) (float64, error) {
	began := time.Now()
	err := b.runZari(ctx, url(from), url(to))
	return time.Since(began).Seconds(), err
}

// compare checks that a copy is one.
func (b *bench) compare(ctx context.Context, from, to string) error {
	return b.runZari(ctx, "--dry-run", "--verify", url(from), url(to))
}

func (b *bench) print(source string) error {
	data, err := os.Stat(filepath.Join(source, "Data.fs"))
	if err != nil {
		return err
	}
	blobs, blobBytes := 0, int64(0)
	err = filepath.WalkDir(filepath.Join(source, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".blob") {
			return err
		}
		info, err := d.Info()
		if err == nil {
			blobs++
			blobBytes += info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	python, zari := median(b.times["python"]), median(b.times["zari"])
	all := float64(data.Size()+blobBytes) / 1e6
	fmt.Printf("Data.fs %.0f MB, %d blobs of %.0f MB in all; medians of %d, the copies are equal\n",
		float64(data.Size())/1e6, blobs, float64(blobBytes)/1e6, b.runs)
	fmt.Printf("python copyTransactionsFrom %8.2f s %8.1f MB/s\n", python, all/python)
	fmt.Printf("zari copy                   %8.2f s %8.1f MB/s\n", zari, all/zari)
	fmt.Printf("times as fast               %8.1f\n", python/zari)
	return nil
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
