package interop

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/transfer"
)

// TestImport serves a database while it is imported. Eight clients read and write from the beginning, and the server is killed
// again and again, at any moment of the copy. In the end the destination holds the source, revision by revision, and all that
// was acknowledged, and is served by itself.
func TestImport(t *testing.T) {
	needPython(t)
	if setup.zari == "" {
		t.Skip("the command line is zari's own")
	}
	objects, kills := number(t, "ZARI_IMPORT_OBJECTS", 20000), number(t, "ZARI_IMPORT_KILLS", 4)
	dice := rand.New(rand.NewPCG(11, uint64(kills)))
	im := newImport(t, objects)
	writers := im.clients(8)
	im.start()
	for n := range kills {
		im.wait(dice, n, kills)
		im.server.kill()
		t.Logf("kill %d: %s", n+1, im.progress())
		im.refused()
		im.start()
	}
	im.finish(writers, objects <= 100000)
}

// imports is a database that is being imported.
type imports struct {
	t           *testing.T
	dir, addr   string
	first       int // oid of the source's objects
	objects     int
	source, dst string
	server      *server
}

func newImport(t *testing.T, objects int) *imports {
	t.Helper()
	dir := t.TempDir()
	im := &imports{t: t, dir: dir, addr: freeAddr(t), objects: objects}
	path := filepath.Join(dir, "source", "Data.fs")
	if err := os.Mkdir(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	var made struct{ First int }
	p := im.launch("importsource.py", path, path+".blobs", strconv.Itoa(objects))
	p.expect(&made)
	p.wait()
	im.first = made.First
	im.source = fmt.Sprintf("file://%s?blobstorage_dir=%s.blobs", path, path)
	im.dst = filepath.Join(dir, "Data.fs")
	return im
}

// limit is how long anything may take.
func (im *imports) limit() time.Duration {
	return programLimit + time.Duration(im.objects)*time.Millisecond
}

func (im *imports) launch(name string, args ...string) *program {
	im.t.Helper()
	p := launch(im.t, im.dir, name, args...)
	p.limit = im.limit()
	p.timer.Reset(p.limit)
	return p
}

func (im *imports) start() {
	im.t.Helper()
	im.server = startCommand(im.t, im.dir, im.addr, []string{
		setup.zari, "serve", "-a", im.addr, "--metrics-address", "off", "--import", im.source, "--blob-dir", im.dst + ".blobs", im.dst,
	})
}

// clients starts programs that wait for the server.
func (im *imports) clients(n int) []*writer {
	im.t.Helper()
	var writers []*writer
	for i := range n {
		w := &writer{round: "c"}
		w.program = im.launch("importclient.py", im.addr, fmt.Sprintf("c%d", i), strconv.Itoa(im.first), strconv.Itoa(im.objects), strconv.Itoa(i))
		w.said = sync.NewCond(&w.mu)
		go w.listen()
		writers = append(writers, w)
	}
	for _, w := range writers {
		w.awaitReady()
	}
	return writers
}

// wait lets the copy come to a point that lies in the part-th of so many parts of the whole, and go on for a moment.
func (im *imports) wait(dice *rand.Rand, part, parts int) {
	im.t.Helper()
	whole := size(filepath.Join(im.dir, "source", "Data.fs"))
	point := (whole*int64(part) + dice.Int64N(whole)) / int64(parts)
	for end := time.Now().Add(im.limit()); size(im.dst) < point && !im.done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			im.t.Fatalf("the copy does not get on: %s\n%s", im.progress(), im.server.output)
		}
	}
	time.Sleep(time.Duration(dice.IntN(20)) * time.Millisecond)
}

// size returns the size of a file, 0 if there is none.
func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (im *imports) done() bool {
	state, err := os.ReadFile(im.dst + ".import/state")
	if err != nil {
		im.t.Fatal(err)
	}
	return bytes.Contains(state, []byte(`"done"`))
}

func (im *imports) progress() string {
	return fmt.Sprintf("done %v, %d bytes of the source's %d copied, %d in the journal", im.done(), size(im.dst),
		size(filepath.Join(im.dir, "source", "Data.fs")), size(im.dst+".import/journal.fs"))
}

// refused checks that what is only a part of a database is not served as one.
func (im *imports) refused() {
	im.t.Helper()
	if im.done() {
		return
	}
	out, err := exec.Command(setup.zari, "serve", "-a", im.addr, "--metrics-address", "off", im.dst).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "zari serve --import") {
		im.t.Errorf("serving the destination of an import that is not done: %v\n%s", err, out)
	}
}

// finish waits for the end of the import, lets the clients go on for a little, and compares.
func (im *imports) finish(writers []*writer, whole bool) {
	t := im.t
	t.Helper()
	for end := time.Now().Add(im.limit()); !im.done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the import does not come to an end: %s\n%s", im.progress(), im.server.output)
		}
	}
	for _, w := range writers {
		w.progress(2)
		w.finish()
	}
	im.server.stop()
	t.Log(im.progress())

	acknowledged, tried := told(writers)
	got := python[verified](t, im.dir, "keys.py", "file:"+im.dst)
	if lost := got.lacks(acknowledged); len(lost) > 0 {
		t.Errorf("acknowledged, but not in the destination: %v", lost)
	}
	for _, key := range got.Keys {
		if !slices.Contains(tried, key) {
			t.Errorf("%s is in the destination, but nobody tried to commit it", key)
		}
	}
	im.sameAsSource()
	if whole {
		python[verified](t, im.dir, "verify.py", copyOf(t, im.dst))
	}
	t.Logf("%d objects, %d commits acknowledged during the import, all there", im.objects, len(acknowledged))
	alone := startCommand(t, im.dir, im.addr, []string{setup.zari, "serve", "-a", im.addr, "--metrics-address", "off", im.dst})
	alone.stop()
}

// sameAsSource compares the transactions of the source, with records and blobs, with those of the destination.
func (im *imports) sameAsSource() {
	t := im.t
	t.Helper()
	o := storages.Options{ReadOnly: true}
	src, err := storages.OpenURL(t.Context(), im.source, o)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := storages.OpenURL(t.Context(), "file://"+im.dst+"?blobstorage_dir="+im.dst+".blobs", o)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	v, err := transfer.Verify(t.Context(), dst, src, transfer.VerifyOptions{To: src.LastTID()})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range v.Differences {
		t.Errorf("source and destination: %v", d)
	}
	if v.Blobs == 0 || v.Records < int64(im.objects) {
		t.Errorf("only %d records and %d blobs were compared", v.Records, v.Blobs)
	}
}
