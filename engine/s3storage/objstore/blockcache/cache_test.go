package blockcache

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
)

const blockSize = 64 << 10

// newStore returns a store with an object of 4 MiB, and its bytes.
func newStore(t testing.TB) (*fake.Store, []byte) {
	t.Helper()
	data := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	s := fake.New()
	if _, err := s.Put(t.Context(), "seg/1", data, objstore.IfAbsent); err != nil {
		t.Fatal(err)
	}
	return s, data
}

func newCache(t testing.TB, s objstore.Store, opts Options) *Cache {
	t.Helper()
	h := objstore.NewHedger(s)
	c, err := Open(h, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		h.Close()
	})
	return c
}

func blockRange(i int) objstore.Range {
	return objstore.Range{Off: int64(i) * blockSize, Len: blockSize}
}

// mustRead reads a block and compares it.
func mustRead(t testing.TB, c *Cache, all []byte, i int) {
	t.Helper()
	data, err := c.Read(t.Context(), "seg/1", blockRange(i))
	if err != nil || !bytes.Equal(data, all[i*blockSize:(i+1)*blockSize]) {
		t.Fatalf("block %d: %d bytes, %v", i, len(data), err)
	}
}

// files returns the files of a cache.
func files(t testing.TB, dir string) (paths []string, size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		paths, size = append(paths, path), size+st.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths, size
}

// TestColdReadIsOneGet: a block that is not there is one ranged GET and nothing else, for
// any number who want it at once; then it is none.
func TestColdReadIsOneGet(t *testing.T) {
	for _, opts := range []Options{
		{}, {Memory: 64 << 20}, {Dir: t.TempDir(), MaxBytes: 1 << 30}, {Dir: t.TempDir(), MaxBytes: 1 << 30, Memory: 64 << 20},
	} {
		s, all := newStore(t)
		c := newCache(t, s, opts)
		mustRead(t, c, all, 0)
		if got, want := s.Counts(), (objstore.Counts{Put: 1, Get: 1, BytesIn: 4 << 20, BytesOut: blockSize}); got != want {
			t.Errorf("a cold read: %+v", got)
		}

		arrived := make(chan struct{})
		s.SetRule(func(fake.Op) fake.Fault {
			<-arrived
			return fake.Fault{}
		})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { mustRead(t, c, all, 1) })
		}
		for c.waiting("seg/1", blockRange(1)) < 20 {
			time.Sleep(time.Millisecond)
		}
		close(arrived)
		wg.Wait()
		if got := s.Counts().Get; got != 2 {
			t.Errorf("%+v: 20 at once: %d GETs", opts, got-1)
		}
		if opts.Dir == "" && opts.Memory == 0 {
			continue
		}
		mustRead(t, c, all, 0)
		mustRead(t, c, all, 1)
		if got := s.Counts().Get; got != 2 {
			t.Errorf("%+v: warm reads: %d GETs", opts, got-2)
		}
	}
}

// waiting is how many wait for a block.
func (c *Cache) waiting(key string, r objstore.Range) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[blockID{key, r}]; f != nil {
		return f.waiting
	}
	return 0
}

func TestSurvivesRestart(t *testing.T) {
	s, all := newStore(t)
	opts := Options{Dir: t.TempDir(), MaxBytes: 1 << 30, Space: "a"}
	c := newCache(t, s, opts)
	for i := range 10 {
		mustRead(t, c, all, i)
	}
	other := newCache(t, s, opts) // another process
	c.Close()
	for i := range 10 {
		mustRead(t, other, all, i)
	}
	if got := s.Counts().Get; got != 10 {
		t.Errorf("%d GETs", got)
	}
	opts.Space = "b" // another database with the same keys
	mustRead(t, newCache(t, s, opts), all, 0)
	if got := s.Counts().Get; got != 11 {
		t.Errorf("another space: %d GETs", got)
	}
}

// TestChangedFilesAreNotServed changes, cuts, lengthens, swaps the files.
func TestChangedFilesAreNotServed(t *testing.T) {
	s, all := newStore(t)
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		c := newCache(t, s, Options{Dir: dir, MaxBytes: 1 << 30})
		for i := range 4 {
			mustRead(t, c, all, i)
		}
		c.Close()
		paths, _ := files(t, dir)
		for i, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			switch (round + i) % 5 {
			case 0:
				content[rnd.IntN(len(content))] ^= 1 << rnd.IntN(8)
			case 1:
				content = content[:rnd.IntN(len(content))]
			case 2:
				content = append(content, 0)
			case 3: // a sector that never came to the disk
				off := rnd.IntN(len(content)-512) &^ 511
				clear(content[off : off+512])
			case 4: // another block's
				content, err = os.ReadFile(paths[(i+1)%len(paths)])
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := s.Counts().Get
		c = newCache(t, s, Options{Dir: dir, MaxBytes: 1 << 30})
		for i := range 4 {
			mustRead(t, c, all, i)
		}
		if got := s.Counts().Get - before; got != 4 {
			t.Fatalf("round %d: %d GETs for 4 changed files", round, got)
		}
		if got := c.Stats().Corrupt; got != 4 {
			t.Fatalf("round %d: %d of 4 were found corrupt", round, got)
		}
		c.Close()
	}
}

// TestDeletedWhileRunning deletes the directory under a running cache.
func TestDeletedWhileRunning(t *testing.T) {
	s, all := newStore(t)
	dir := filepath.Join(t.TempDir(), "cache")
	c := newCache(t, s, Options{Dir: dir, MaxBytes: 1 << 30})
	var wg sync.WaitGroup
	var reading atomic.Int64
	for range 4 {
		reading.Add(1)
		wg.Go(func() {
			defer reading.Add(-1)
			for range 200 {
				mustRead(t, c, all, rand.IntN(64))
			}
		})
	}
	for reading.Load() > 0 {
		_ = os.RemoveAll(dir) // it may fail: files come meanwhile
	}
	wg.Wait()
	c.flying.Wait()
	c.mu.Lock()
	c.pauseTo = time.Time{}
	c.mu.Unlock()
	_ = os.RemoveAll(dir)
	mustRead(t, c, all, 0)
	c.Close()
	if paths, _ := files(t, dir); len(paths) != 1 {
		t.Errorf("%d files after all was deleted and one block read", len(paths))
	}
}

// TestBound: two caches over one directory, smaller than what is read.
func TestBound(t *testing.T) {
	s, all := newStore(t)
	const max = 20 * (blockSize + fileBlock)
	dir := t.TempDir()
	a := newCache(t, s, Options{Dir: dir, MaxBytes: max})
	b := newCache(t, s, Options{Dir: dir, MaxBytes: max})
	for range 5 {
		for i := range 64 {
			mustRead(t, a, all, i)
			mustRead(t, b, all, 63-i)
		}
	}
	a.Close()
	b.Close()
	_, size := files(t, dir)
	if size > max+2*max/16+4*blockSize || size < max/2 {
		t.Errorf("%d bytes in a cache of %d", size, max)
	}
	if a.Stats().Disk.Evicted+b.Stats().Disk.Evicted == 0 {
		t.Error("nothing was evicted")
	}
}

// TestLeastRecentlyUsedGoes: what was used stays, also across a restart.
func TestLeastRecentlyUsedGoes(t *testing.T) {
	s, all := newStore(t)
	dir := t.TempDir()
	c := newCache(t, s, Options{Dir: dir, MaxBytes: 1 << 30})
	for i := range 20 {
		mustRead(t, c, all, i)
	}
	c.Close()
	paths, _ := files(t, dir)
	for i, path := range paths { // all were last used hours ago
		at := time.Now().Add(-time.Hour * time.Duration(10+i))
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	c = newCache(t, s, Options{Dir: dir, MaxBytes: 10 * (blockSize + fileBlock)})
	for i := range 5 { // but these now
		mustRead(t, c, all, i)
	}
	for i := range 3 {
		mustRead(t, c, all, 30+i)
	}
	c.Close()
	before := s.Counts().Get
	c = newCache(t, s, Options{Dir: dir, MaxBytes: 1 << 30})
	for i := range 5 {
		mustRead(t, c, all, i)
	}
	if got := s.Counts().Get - before; got != 0 {
		t.Errorf("%d of 5 that were used were evicted", got)
	}
	if paths, _ := files(t, dir); len(paths) > 13 {
		t.Errorf("%d files", len(paths))
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s, all := newStore(t)
	c := newCache(t, s, Options{Memory: 10 * blockSize})
	for range 3 {
		for i := range 64 {
			mustRead(t, c, all, i)
		}
	}
	if c.memory.bytes > 10*blockSize || c.memory.bytes < 8*blockSize || len(c.memory.blocks) != c.memory.order.Len() {
		t.Errorf("%d bytes in %d blocks", c.memory.bytes, len(c.memory.blocks))
	}
	if m := c.Stats().Memory; m.Bytes != c.memory.bytes || m.Evicted != c.Stats().Fetched-int64(len(c.memory.blocks)) {
		t.Errorf("of %d blocks %d are there, and it says %+v", c.Stats().Fetched, len(c.memory.blocks), m)
	}
}

// TestStats: each read is counted once, by where the answer came from, and the bytes in a directory are
// those of all files in it, whoever has written them.
func TestStats(t *testing.T) {
	s, all := newStore(t)
	dir := t.TempDir()
	a := newCache(t, s, Options{Dir: dir, MaxBytes: 1 << 30, Memory: 64 << 20})
	for range 2 {
		for i := range 10 {
			mustRead(t, a, all, i)
		}
	}
	a.flying.Wait()
	if st := a.Stats(); st.Fetched != 10 || st.Memory.Hits != 10 || st.Disk.Hits != 0 || st.Memory.Bytes < 10*blockSize {
		t.Errorf("who has read all blocks says %+v", st)
	}
	b := newCache(t, s, Options{Dir: dir, MaxBytes: 1 << 30})
	mustRead(t, b, all, 0)
	mustRead(t, b, all, 11)
	b.flying.Wait()
	if st := b.Stats(); st.Fetched != 1 || st.Disk.Hits != 1 || st.Memory != (Kept{}) {
		t.Errorf("who finds one of two blocks says %+v", st)
	}
	b.Close() // when all is counted
	paths, size := files(t, dir)
	if got := b.Stats().Disk.Bytes; len(paths) != 11 || got < size || got > size+11*fileBlock {
		t.Errorf("%d files have %d bytes, and it says %d", len(paths), size, got)
	}
}

// TestBrokenDisk: a directory that cannot be written costs no read.
func TestBrokenDisk(t *testing.T) {
	s, all := newStore(t)
	dir := filepath.Join(t.TempDir(), "cache")
	c := newCache(t, s, Options{Dir: dir, MaxBytes: 1 << 30})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file in its place
		t.Fatal(err)
	}
	for i := range 3 {
		mustRead(t, c, all, i)
		c.flying.Wait()
	}
	c.Close()
	if st := c.Stats(); st.WriteErrors != 1 || st.LastError == nil { // then it pauses
		t.Errorf("%+v", st)
	}
	if _, err := Open(nil, Options{Dir: dir, MaxBytes: 1}); err == nil {
		t.Error("opened on a file")
	}
}

func TestErrorsAreNotKept(t *testing.T) {
	s, all := newStore(t)
	c := newCache(t, s, Options{Dir: t.TempDir(), MaxBytes: 1 << 30, Memory: 1 << 20})
	s.SetRule(fake.Nth(1, fake.Fault{Err: fake.ErrSlow}))
	if _, err := c.Read(t.Context(), "seg/1", blockRange(0)); !errors.Is(err, fake.ErrSlow) {
		t.Fatal(err)
	}
	mustRead(t, c, all, 0)
	if _, err := c.Read(t.Context(), "none", blockRange(0)); !errors.Is(err, objstore.ErrNotExist) {
		t.Error(err)
	}
	if _, err := s.Put(t.Context(), "none", []byte("x"), objstore.IfAbsent); err != nil {
		t.Fatal(err)
	}
	if data, err := c.Read(t.Context(), "none", blockRange(0)); err != nil || string(data) != "x" {
		t.Errorf("%q %v", data, err)
	}
}

// TestLastWhoWaitsEndsTheRequest: one who gives up does not take the others' answer
// away; when all do, the request is cancelled, and the next one asks anew.
func TestLastWhoWaitsEndsTheRequest(t *testing.T) {
	s, all := newStore(t)
	c := newCache(t, s, Options{})
	cancelled := make(chan struct{})
	hold := make(chan struct{})
	s.SetRule(fake.Nth(1, fake.Fault{Hold: hold}))
	ctx1, cancel1 := context.WithCancel(t.Context())
	ctx2, cancel2 := context.WithCancel(t.Context())
	errs := make(chan error, 2)
	for _, ctx := range []context.Context{ctx1, ctx2} {
		go func() {
			_, err := c.Read(ctx, "seg/1", blockRange(0))
			errs <- err
		}()
	}
	for c.waiting("seg/1", blockRange(0)) < 2 {
		time.Sleep(time.Millisecond)
	}
	cancel1()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if c.waiting("seg/1", blockRange(0)) != 1 {
		t.Fatal("the request ended with the first who gave up")
	}
	cancel2()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	go func() {
		c.flying.Wait()
		close(cancelled)
	}()
	<-cancelled // the held request has ended without being let go
	mustRead(t, c, all, 0)
}

// TestReadPart: parts of a block are one GET of all of it; then they come from memory, from a
// file that was checked when it was first read, or from one that was written here.
func TestReadPart(t *testing.T) {
	for _, opts := range []Options{
		{Memory: 64 << 20}, {Dir: t.TempDir(), MaxBytes: 1 << 30}, {Dir: t.TempDir(), MaxBytes: 1 << 30, Memory: 64 << 20},
	} {
		s, all := newStore(t)
		rnd := rand.New(rand.NewPCG(1, 3))
		for range 2 { // the second one finds what the first one left
			c := newCache(t, s, opts)
			for range 200 {
				i, off, n := rnd.IntN(4), rnd.Int64N(blockSize), 1+rnd.Int64N(blockSize)
				data, err := c.ReadPart(t.Context(), "seg/1", blockRange(i), off, n)
				begin := int64(i)*blockSize + off
				want := all[begin:min(begin+n, int64(i+1)*blockSize)]
				if err != nil || !bytes.Equal(data, want) {
					t.Fatalf("%d bytes at %d of block %d: %d bytes, %v", n, off, i, len(data), err)
				}
				c.flying.Wait()
			}
			c.Close()
			if st := c.Stats(); opts.Dir != "" && st.Disk.Hits+st.Memory.Hits == 0 || opts.Dir == "" && st.Memory.Hits == 0 {
				t.Errorf("%+v: %+v", opts, st)
			}
		}
		want := int64(4)
		if opts.Dir == "" {
			want = 8
		}
		if got := s.Counts().Get; got != want {
			t.Errorf("%+v: %d GETs, want %d", opts, got, want)
		}
	}
}

// TestReadPartOfChangedFile: a file that was good, and is another one now, is not used.
func TestReadPartOfChangedFile(t *testing.T) {
	s, all := newStore(t)
	dir := t.TempDir()
	c := newCache(t, s, Options{Dir: dir, MaxBytes: 1 << 30})
	read := func(i int) {
		t.Helper()
		data, err := c.ReadPart(t.Context(), "seg/1", blockRange(i), 100, 50)
		if begin := i*blockSize + 100; err != nil || !bytes.Equal(data, all[begin:begin+50]) {
			t.Fatalf("block %d: %d bytes, %v", i, len(data), err)
		}
		c.flying.Wait()
	}
	for i := range 2 {
		read(i)
	}
	paths, _ := files(t, dir)
	content := make([][]byte, 2)
	for i, path := range paths {
		var err error
		if content[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	before := s.Counts().Get
	for round, changed := range [][2][]byte{
		{content[1], content[0]},
		{content[0][:1000], append(bytes.Clone(content[1]), 0)},
		{content[0][:5], nil},
	} {
		for i, path := range paths {
			if err := os.WriteFile(path, changed[i], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range c.open.files {
			e.Value.(*openFile).checked.Store(0) // a second has passed
		}
		read(0)
		read(1)
		if got := s.Counts().Get - before; got != int64(2*(round+1)) {
			t.Errorf("round %d: %d GETs", round, got)
		}
	}
}

func TestAdd(t *testing.T) {
	s, all := newStore(t)
	opts := Options{Dir: t.TempDir(), MaxBytes: 1 << 30}
	c := newCache(t, s, opts)
	c.Add("seg/1", blockRange(3), all[3*blockSize:4*blockSize])
	mustRead(t, c, all, 3)
	c.Close()
	mustRead(t, newCache(t, s, opts), all, 3)
	if got := s.Counts().Get; got != 0 {
		t.Errorf("%d GETs", got)
	}
	c.Add("seg/1", blockRange(4), nil) // after Close
}

func TestClosed(t *testing.T) {
	s, _ := newStore(t)
	c := newCache(t, s, Options{})
	c.Close()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(t.Context(), "seg/1", blockRange(0)); !errors.Is(err, objstore.ErrClosed) {
		t.Error(err)
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add(appendFile(nil, "name", []byte("data")), "name")
	f.Add([]byte(magic), "")
	f.Fuzz(func(t *testing.T, file []byte, name string) {
		data, err := parseFile(file, name)
		if err == nil && !bytes.Equal(appendFile(nil, name, data), file) {
			t.Errorf("%q is taken for %q", file, data)
		}
	})
}

// TestOpenFiles: there are never more files open than may be, none of them after Close, and
// one that was deleted is closed by a sweep.
func TestOpenFiles(t *testing.T) {
	for _, most := range []int{0, 1, 5, 100} {
		s, all := newStore(t)
		c := newCache(t, s, Options{Dir: t.TempDir(), MaxBytes: 1 << 30})
		c.open = newOpenFiles(most)
		rnd := rand.New(rand.NewPCG(1, 5))
		for range 300 {
			i, off := rnd.IntN(10), rnd.Int64N(blockSize-100)
			data, err := c.ReadPart(t.Context(), "seg/1", blockRange(i), off, 100)
			if begin := int64(i)*blockSize + off; err != nil || !bytes.Equal(data, all[begin:begin+100]) {
				t.Fatalf("%d bytes, %v", len(data), err)
			}
			c.flying.Wait()
		}
		if n := len(c.open.files); n != min(most, 10) || n != c.open.order.Len() {
			t.Errorf("%d files are open, at most %d may be", n, most)
		}
		if got := s.Counts().Get; got != 10 {
			t.Errorf("%d GETs", got)
		}
		paths, _ := files(t, c.opts.Dir)
		for _, path := range paths {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		if c.open.sweep(); len(c.open.files) != 0 {
			t.Errorf("%d files are open that were deleted", len(c.open.files))
		}
		mustRead(t, c, all, 0)
		c.Close()
		if n := len(c.open.files); n != 0 {
			t.Errorf("%d files are open after Close", n)
		}
	}
}

// TestUseIsNoted: who reads parts of an old file keeps it from being the next to go.
func TestUseIsNoted(t *testing.T) {
	s, _ := newStore(t)
	c := newCache(t, s, Options{Dir: t.TempDir(), MaxBytes: 1 << 30})
	read := func() {
		t.Helper()
		if _, err := c.ReadPart(t.Context(), "seg/1", blockRange(0), 10, 10); err != nil {
			t.Fatal(err)
		}
		c.flying.Wait()
	}
	read()
	paths, _ := files(t, c.opts.Dir)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(paths[0], old, old); err != nil {
		t.Fatal(err)
	}
	for _, e := range c.open.files {
		e.Value.(*openFile).checked.Store(0) // a second has passed
	}
	for range 3 {
		read()
	}
	if info, err := os.Stat(paths[0]); err != nil || time.Since(info.ModTime()) > touchAge {
		t.Errorf("last used %v, %v", info.ModTime(), err)
	}
	if got := s.Counts().Get; got != 1 {
		t.Errorf("%d GETs", got)
	}
}
