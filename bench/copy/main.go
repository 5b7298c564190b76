// Copy measures `zari copy` beside Python: from a Data.fs with blobs to another one
// beside copyTransactionsFrom of ZODB, and to PostgreSQL beside RelStorage's
// zodbconvert.
//
//	go run ./bench/copy [flags]       (make bench builds bin/zari before)
//
// It generates the source, copies it with both in turns, compares the copies, and
// prints medians and their ratio. The time of copyTransactionsFrom is that of the copy
// alone, the others' are those of their whole processes. With -to postgresql one
// server is started, with fsync on, and each copy gets a database of its own.
//
// The Python with ZODB and RelStorage is $ZARI_PYTHON or .venv/bin/python.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/zaridb/zari/bench/harness"
)

//go:embed generate.py
var generateProgram string

//go:embed copy.py
var copyProgram string

func main() { harness.Main("copy", parse, (*bench).run) }

// bench is what the command line asks for.
type bench struct {
	zari, python string
	dir          string
	size, blobs  int // megabytes
	runs         int
	to           string // file or postgresql

	times map[string][]float64
}

func parse(args []string) (*bench, error) {
	b := &bench{times: make(map[string][]float64)}
	fs := harness.NewFlags("copy")
	fs.Zari(&b.zari)
	fs.Python(&b.python, "ZODB")
	fs.StringVar(&b.dir, "dir", "", "`directory` for the files, three times their size (default a temporary one)")
	fs.IntVar(&b.size, "size", 2000, "megabytes of the Data.fs")
	fs.IntVar(&b.blobs, "blobs", 500, "megabytes of the blobs")
	fs.IntVar(&b.runs, "runs", 3, "copies by each")
	fs.StringVar(&b.to, "to", "file", "what to copy to: file or postgresql")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if b.to != "file" && b.to != "postgresql" || b.size < 1 || b.blobs < 0 || b.runs < 1 {
		return nil, errors.New("it copies to file or postgresql, and numbers are positive: see --help")
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
	to, err := b.openTarget(dir)
	if err != nil {
		return err
	}
	defer to.close()
	fmt.Fprintf(os.Stderr, "generating %d MB with %d MB of blobs\n", b.size, b.blobs)
	if _, err := harness.Output(ctx, b.python, "-c", generateProgram, source, strconv.Itoa(b.size), strconv.Itoa(b.blobs)); err != nil {
		return err
	}
	places := make(map[string]string)
	for i := range b.runs {
		for _, program := range []string{"python", "zari"} {
			if places[program], err = to.fresh(program); err != nil {
				return err
			}
			syscall.Sync() // nobody pays for what others have written
			seconds, err := b.copy(ctx, program, source, to, places[program])
			if err != nil {
				return fmt.Errorf("%s: %w", program, err)
			}
			b.times[program] = append(b.times[program], seconds)
			fmt.Fprintf(os.Stderr, "run %d: %-6s %8.2f s\n", i+1, program, seconds)
		}
	}
	if err := b.verify(ctx, source, to.url(places["zari"])); err != nil {
		return err
	}
	if err := to.check(ctx, b, source, places); err != nil {
		return fmt.Errorf("the copy by %s: %w", to.rival(), err)
	}
	return b.print(source, to.rival())
}

// verify compares a copy with its source.
func (b *bench) verify(ctx context.Context, source, copied string) error {
	return b.runZari(ctx, "--dry-run", "--verify", fileURL(source), copied)
}

// copy returns how long a program takes.
func (b *bench) copy(ctx context.Context, program, source string, to target, place string) (seconds float64, err error) {
	if program == "python" {
		return to.copyByPython(ctx, b, source, place)
	}
	began := time.Now()
	err = b.runZari(ctx, fileURL(source), to.url(place))
	return time.Since(began).Seconds(), err
}

func (b *bench) runZari(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, b.zari, append([]string{"copy"}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

func (b *bench) print(source, rival string) error {
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
	python, zari := harness.Median(b.times["python"]), harness.Median(b.times["zari"])
	all := float64(data.Size()+blobBytes) / 1e6
	fmt.Printf("Data.fs %.0f MB, %d blobs of %.0f MB in all; medians of %d, the copies are equal\n",
		float64(data.Size())/1e6, blobs, float64(blobBytes)/1e6, b.runs)
	fmt.Printf("%-28s%8.2f s %8.1f MB/s\n", rival, python, all/python)
	fmt.Printf("%-28s%8.2f s %8.1f MB/s\n", "zari copy", zari, all/zari)
	fmt.Printf("%-28s%8.1f\n", "times as fast", python/zari)
	return nil
}
