package barewrites_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zaridb/zari/bench/barewrites"
	"github.com/zaridb/zari/internal/vfs"
)

// counting counts what is done to files.
type counting struct {
	vfs.FS
	synced, written int
	bytes           int64 // the end of the file
	fail            error
}

func (c *counting) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	return &countingFile{f, c}, err
}

type countingFile struct {
	vfs.File
	c *counting
}

func (f *countingFile) Datasync() error {
	f.c.synced++
	return f.c.fail
}

func (f *countingFile) WriteAt(b []byte, off int64) (int, error) {
	f.c.written++
	f.c.bytes = max(f.c.bytes, off+int64(len(b)))
	return f.File.WriteAt(b, off)
}

func TestTwoSyncsForEachBatch(t *testing.T) {
	c := &counting{FS: vfs.OS()}
	o := barewrites.Options{Dir: t.TempDir(), FS: c, Batch: 4, Bytes: 100, Duration: 20 * time.Millisecond}
	res, err := barewrites.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	batches := int(res.Transactions) / o.Batch
	if batches == 0 || int(res.Transactions)%o.Batch != 0 || res.Rate <= 0 {
		t.Fatalf("strange result: %+v", res)
	}
	if c.synced != 2*batches || c.written != 2*batches {
		t.Errorf("%d batches were %d syncs and %d writes, want two each", batches, c.synced, c.written)
	}
	if want := int64(batches * 400); c.bytes != want {
		t.Errorf("%d bytes were written, want %d", c.bytes, want)
	}
	if left, _ := filepath.Glob(filepath.Join(o.Dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFailuresAreTold(t *testing.T) {
	broken := errors.New("broken")
	o := barewrites.Options{Dir: t.TempDir(), FS: &counting{FS: vfs.OS(), fail: broken}, Batch: 1, Bytes: 100, Duration: time.Hour}
	if _, err := barewrites.Run(t.Context(), o); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	o = barewrites.Options{Dir: filepath.Join(t.TempDir(), "none"), Batch: 1, Bytes: 100, Duration: time.Hour}
	if _, err := barewrites.Run(t.Context(), o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v for a directory that is not there", err)
	}
	o.Batch = 0
	if _, err := barewrites.Run(t.Context(), o); err == nil {
		t.Error("no error for batches of nothing")
	}
}
