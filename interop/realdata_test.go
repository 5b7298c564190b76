package interop

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	zaricheck "github.com/zaridb/zari/check"
	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// TestRealData reads every record of databases that real applications wrote, writes
// it again to the byte, and compares its references with Python's. The databases are
// those below $ZARI_REALDATA, which realdata/make.sh makes; a small one is made here.
func TestRealData(t *testing.T) {
	needPython(t)
	small := filepath.Join(t.TempDir(), "sample")
	runPython(t, "realdata/sample_site.py", small)
	files := []string{filepath.Join(small, "Data.fs")}
	if dir := os.Getenv("ZARI_REALDATA"); dir != "" {
		more, err := filepath.Glob(filepath.Join(dir, "*", "Data.fs"))
		if err != nil || len(more) == 0 {
			t.Fatalf("no */Data.fs in %s: make them with interop/realdata/make.sh (%v)", dir, err)
		}
		files = append(files, more...)
	}
	for _, path := range files {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) { realData(t, path) })
	}
}

func runPython(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(setup.python, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

func realData(t *testing.T, path string) {
	python := bufio.NewScanner(bytes.NewReader(runPython(t, "realdata/references.py", path)))
	python.Buffer(nil, 64<<20)
	s, err := storages.Open(t.Context(), &config.FileStorage{Path: path, ReadOnly: true}, storages.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	it, ok := zodb.As[zodb.Iterator](s)
	if !ok {
		t.Fatal("no iterator")
	}
	records, bytes, classes := 0, 0, make(map[pickle.Class]bool)
	for txn, err := range it.Transactions(t.Context(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range txn.Records {
			if r.Data == nil {
				continue
			}
			if !python.Scan() {
				t.Fatalf("Python has no more than %d records", records)
			}
			records, bytes = records+1, bytes+len(r.Data)
			classes[compareRecord(t, txn.TID, &r, python.Text())] = true
		}
	}
	if python.Scan() {
		t.Errorf("Python has more records than %d", records)
	}
	healthy(t, path)
	t.Logf("%s: %d records, %d bytes, %d classes", path, records, bytes, len(classes))
	if records < 100 || len(classes) < 5 {
		t.Error("that is no database to learn anything from")
	}
}

// compareRecord checks one record against Python's line for it.
func compareRecord(t *testing.T, tid zodb.TID, r *zodb.TxnRecord, line string) pickle.Class {
	t.Helper()
	name := fmt.Sprintf("record of %v by %v", r.OID, tid)
	class, state, err := pickle.DecodeRecord(r.Data)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	again, err := pickle.EncodeRecord(class, state)
	if err != nil || !bytes.Equal(again, r.Data) {
		t.Errorf("%s: it is written otherwise: %v", name, err)
	}
	refs, err := pickle.References(r.Data, nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	b := tid.Bytes()
	o := r.OID.Bytes()
	want := fmt.Sprintf("%x %x ", b, o)
	for i, ref := range refs {
		if i > 0 {
			want += " "
		}
		b := ref.Bytes()
		want += fmt.Sprintf("%x", b)
	}
	if want != line {
		t.Errorf("%s: Python has %q, Zari %q", name, line, want)
	}
	if _, err := (pickle.View{}).AppendRecordJSON(nil, r.Data); err != nil {
		t.Errorf("%s: as JSON: %v", name, err)
	}
	c, err := pickle.ClassOf(r.Data)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return c
}

// healthy says that check finds nothing wrong.
func healthy(t *testing.T, path string) {
	t.Helper()
	ctx := context.Background()
	f, err := zaricheck.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &zaricheck.Report{Found: func(p *zaricheck.Problem) { t.Errorf("a false alarm: %v", p) }}
	if err := f.Walk(ctx, r); err != nil {
		t.Fatal(err)
	}
	if err := f.Index(ctx, r); err != nil {
		t.Fatal(err)
	}
	if dir := filepath.Join(filepath.Dir(path), "blobs"); f.BlobRevisions() > 0 {
		if err := f.Blobs(ctx, dir, r); err != nil {
			t.Fatal(err)
		}
	}
	g, err := zaricheck.References(ctx, []zaricheck.Database{{Source: f}}, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Trees(ctx); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRealReferences finds the references of all records below $ZARI_REALDATA. It
// counts processor time, ours and that of Python's referencesf on the same records.
func BenchmarkRealReferences(b *testing.B) {
	files, err := filepath.Glob(filepath.Join(os.Getenv("ZARI_REALDATA"), "*", "Data.fs"))
	if os.Getenv("ZARI_REALDATA") == "" || err != nil || len(files) == 0 || setup.missing != "" {
		b.Skip("no databases, or no Python: see realdata/make.sh")
	}
	for _, path := range files {
		b.Run(filepath.Base(filepath.Dir(path)), func(b *testing.B) {
			records, size := recordsOf(b, path)
			out, err := exec.Command(setup.python, "realdata/references.py", "--time", path).Output()
			if err != nil {
				b.Fatal(err)
			}
			var python float64
			if _, err := fmt.Sscan(string(out), &python); err != nil {
				b.Fatal(err)
			}
			var dst []zodb.OID
			b.ReportAllocs()
			begin := cpuTime(b)
			for b.Loop() {
				for _, r := range records {
					if dst, err = pickle.References(r, dst[:0]); err != nil {
						b.Fatal(err)
					}
				}
			}
			zari := float64(size) * float64(b.N) / (cpuTime(b) - begin).Seconds() / 1e6
			b.ReportMetric(zari, "MB/cpu-s")
			b.ReportMetric(python, "python-MB/cpu-s")
			b.ReportMetric(zari/python, "ratio")
		})
	}
}

func recordsOf(b *testing.B, path string) (records [][]byte, size int) {
	s, err := storages.OpenURL(b.Context(), path, storages.Options{ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	it, _ := zodb.As[zodb.Iterator](s)
	for txn, err := range it.Transactions(b.Context(), 0, 0) {
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range txn.Records {
			if r.Data != nil {
				records, size = append(records, r.Data), size+len(r.Data)
			}
		}
	}
	return records, size
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
