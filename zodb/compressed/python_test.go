package compressed_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/zaridb/zari/zodb/compressed"
)

// python runs a program text with its input, or skips the test without a Python
// that has ZODB.
func python(t testing.TB, program string, args ...string) string {
	t.Helper()
	path := os.Getenv("ZARI_PYTHON")
	if path == "" {
		path = filepath.Join("..", "..", ".venv", "bin", "python")
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no Python: %v (make venv, or set ZARI_PYTHON)", err)
		}
		t.Skipf("no Python: %v (make venv, or set ZARI_PYTHON)", err)
	}
	out, err := exec.Command(path, append([]string{"-c", program}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// samples are records as applications write them: classes, attribute names, text,
// numbers.
func samples(n int) [][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := []string{"title", "description", "creators", "modification_date", "text", "workflow", "published", "Members", "front-page"}
	var all [][]byte
	for i := range n {
		b := bytes.NewBufferString("\x80\x03cplone.app.contenttypes.content\nDocument\n.\x80\x03}(")
		for range 5 + rnd.IntN(60) {
			w := words[rnd.IntN(len(words))]
			fmt.Fprintf(b, "X%c\x00\x00\x00%sK%cX\x08\x00\x00\x00%08x", len(w), w, rnd.IntN(256), rnd.Uint32())
		}
		fmt.Fprintf(b, "J%04du.", i)
		all = append(all, b.Bytes())
	}
	return all
}

// TestPythonReadsIt lets Python's zlib read what is written.
func TestPythonReadsIt(t *testing.T) {
	dir := t.TempDir()
	records := append(samples(30), bytes.Repeat([]byte("large "), 1<<18))
	for i, plain := range records {
		kept := compressed.Write(plain)
		if !bytes.HasPrefix(kept, []byte(".z")) {
			t.Errorf("record %d is not compressed", i)
		}
		for name, data := range map[string][]byte{"plain": plain, "kept": kept} {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d", name, i)), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	out := python(t, `
import sys, zlib
for i in range(int(sys.argv[2])):
    kept, plain = (open('%s/%s-%d' % (sys.argv[1], name, i), 'rb').read() for name in ('kept', 'plain'))
    assert kept[:2] == b'.z' and zlib.decompress(kept[2:]) == plain, i
print('read', i + 1)`, dir, strconv.Itoa(len(records)))
	if want := fmt.Sprintf("read %d", len(records)); out != want {
		t.Errorf("Python says %q, want %q", out, want)
	}
}

// cpu returns the seconds of processor time that the process has used.
func cpu(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkBesidePython compresses and decompresses the same records here and with
// what zc.zlibstorage calls, one after the other, in bytes for each second of
// processor time.
func BenchmarkBesidePython(b *testing.B) {
	records := samples(400)
	dir := b.TempDir()
	var plain, kept int
	var packed [][]byte
	for i, r := range records {
		packed = append(packed, compressed.Write(r))
		plain, kept = plain+len(r), kept+len(packed[i])
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), r, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	const rounds = 20
	var theirs struct{ compress, decompress, ratio float64 }
	out := python(b, `
import os, sys, time, zlib
records = [open(os.path.join(sys.argv[1], n), 'rb').read() for n in os.listdir(sys.argv[1])]
rounds = int(sys.argv[2])
size = sum(map(len, records)) * rounds
def compress(data):
    c = b'.z' + zlib.compress(data)
    return c if len(c) < len(data) else data
began = time.process_time()
for _ in range(rounds): packed = [compress(r) for r in records]
c = time.process_time() - began
began = time.process_time()
for _ in range(rounds): back = [zlib.decompress(p[2:]) for p in packed]
d = time.process_time() - began
assert back == records
print(size / c, size / d, sum(map(len, packed)) * rounds / size)`, dir, strconv.Itoa(rounds))
	if _, err := fmt.Sscan(out, &theirs.compress, &theirs.decompress, &theirs.ratio); err != nil {
		b.Fatalf("%q: %v", out, err)
	}
	for b.Loop() {
		size := float64(plain * rounds)
		began := cpu(b)
		for range rounds {
			for _, r := range records {
				compressed.Write(r)
			}
		}
		b.ReportMetric(size/(cpu(b)-began)/theirs.compress, "compressing/Python")
		began = cpu(b)
		for range rounds {
			for _, p := range packed {
				if _, err := read(p); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(size/(cpu(b)-began)/theirs.decompress, "decompressing/Python")
		b.ReportMetric(float64(kept)/float64(plain)/theirs.ratio, "size/Python")
	}
}
