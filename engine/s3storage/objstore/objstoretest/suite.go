package objstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// Harness says how to make the store under test. Only New is required.
type Harness struct {
	New  func(t testing.TB) objstore.Store                   // empty; closed by the suite
	Peer func(t testing.TB, s objstore.Store) objstore.Store // another client of the same objects; nil: s itself

	FileSize  int64 // of the file for PutFile, to be larger than what is sent in one piece; 0: 3 MiB
	Objects   int   // in the list, to be more than a page; 0: 1100
	Rounds    int   // of the races; 0: 20
	Unordered bool  // lists are in no order
}

// Run runs the whole suite.
func Run(t *testing.T, h Harness) {
	if h.Peer == nil {
		h.Peer = func(_ testing.TB, s objstore.Store) objstore.Store { return s }
	}
	h.FileSize = max(h.FileSize, 3<<20)
	if h.Objects == 0 {
		h.Objects = 1100
	}
	if h.Rounds == 0 {
		h.Rounds = 20
	}
	for _, group := range []struct {
		name string
		test func(*suite)
	}{
		{"put", (*suite).put},
		{"conditions", (*suite).conditions},
		{"race", (*suite).race},
		{"raceLarge", (*suite).raceLarge},
		{"swap", (*suite).swap},
		{"overwrite", (*suite).overwrite},
		{"range", (*suite).ranges},
		{"absent", (*suite).absent},
		{"list", (*suite).list},
		{"file", (*suite).file},
		{"fileCancelled", (*suite).fileCancelled},
		{"body", (*suite).body},
		{"keys", (*suite).keys},
		{"context", (*suite).context},
		{"close", (*suite).close},
		{"counts", (*suite).counts},
		{"probe", (*suite).probe},
	} {
		t.Run(group.name, func(t *testing.T) {
			s := h.New(t)
			defer s.Close()
			group.test(&suite{T: t, Harness: h, s: s, peer: h.Peer(t, s)})
		})
	}
}

// suite is one group of tests on its own store.
type suite struct {
	*testing.T
	Harness
	s, peer objstore.Store
}

// bytesOf returns n bytes that look random and depend on seed.
func bytesOf(seed uint64, n int64) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(data)
	return data
}

// mustPut puts an object that must be put.
func (t *suite) mustPut(key string, body []byte, cond objstore.Cond) string {
	t.Helper()
	etag, err := t.s.Put(t.Context(), key, body, cond)
	if err != nil {
		t.Fatal(err)
	}
	if etag == "" {
		t.Fatalf("Put %s: no etag", key)
	}
	return etag
}

// mustBe reads an object with the other client and compares it.
func (t *suite) mustBe(key string, want []byte) objstore.Info {
	t.Helper()
	data, info, err := objstore.Read(t.Context(), t.peer, key, objstore.Range{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		t.Fatalf("%s: got %s, want %s", key, short(data), short(want))
	}
	return info
}

// wantErr checks the kind and the form of an error.
func (t *suite) wantErr(what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
		return
	}
	var e *objstore.Error
	if !errors.As(err, &e) || e.Op == "" || e.Store == "" {
		t.Errorf("%s: %#v is no *objstore.Error that says which operation on which store", what, err)
	}
}

func short(data []byte) string {
	if len(data) > 40 {
		return fmt.Sprintf("%d bytes %q...", len(data), data[:40])
	}
	return fmt.Sprintf("%q", data)
}

// put: what is put is there, with the same etag in every answer.
func (t *suite) put() {
	for i, size := range []int64{0, 1, 100, 4096, 65537, 1 << 20} {
		key := fmt.Sprintf("put/%d", size)
		data := bytesOf(uint64(i), size)
		etag := t.mustPut(key, data, objstore.Always)
		info := t.mustBe(key, data)
		head, err := t.peer.Head(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if info.ETag != etag || head.ETag != etag {
			t.Errorf("etags of %s: Put %s, Get %s, Head %s", key, etag, info.ETag, head.ETag)
		}
		if head.Size != size || info.Size != size || head.Key != key || info.Key != key {
			t.Errorf("%s: Head %+v, Get %+v", key, head, info)
		}
		if age := time.Since(head.Modified); age < -time.Hour || age > time.Hour {
			t.Errorf("%s was modified %v ago", key, age)
		}
	}
	one := t.mustPut("put/twice", []byte("one"), objstore.Always)
	two := t.mustPut("put/twice", []byte("two"), objstore.Always)
	if one == two {
		t.Errorf("other bytes, one etag %s", one)
	}
	t.mustBe("put/twice", []byte("two"))
}

// conditions: a Put whose condition does not hold changes nothing.
func (t *suite) conditions() {
	refused := func(what string, body string, cond objstore.Cond) {
		t.Helper()
		_, err := t.s.Put(t.Context(), "c/k", []byte(body), cond)
		t.wantErr(what, err, objstore.ErrExists)
	}
	refused("IfMatch of what is not there", "x", objstore.IfMatch(`"00000000000000000000000000000000"`))
	refused("IfMatch of no etag", "x", objstore.IfMatch(""))
	one := t.mustPut("c/k", []byte("one"), objstore.IfAbsent)
	refused("IfAbsent of what is there", "two", objstore.IfAbsent)
	refused("IfAbsent with the same bytes", "one", objstore.IfAbsent)
	refused("IfMatch of another etag", "x", objstore.IfMatch(`"00000000000000000000000000000000"`))
	refused("IfMatch of no etag", "x", objstore.IfMatch(""))
	t.mustBe("c/k", []byte("one"))

	two := t.mustPut("c/k", []byte("two"), objstore.IfMatch(one))
	refused("IfMatch of the etag before", "x", objstore.IfMatch(one))
	t.mustBe("c/k", []byte("two"))
	if err := t.s.Delete(t.Context(), "c/k"); err != nil {
		t.Fatal(err)
	}
	refused("IfMatch of what was deleted", "x", objstore.IfMatch(two))
	t.mustPut("c/k", []byte("three"), objstore.IfAbsent)
	t.mustBe("c/k", []byte("three"))
}

// ranges: every way to ask for a part.
func (t *suite) ranges() {
	data := bytesOf(1, 100_000)
	t.mustPut("r/k", data, objstore.Always)
	for _, r := range []objstore.Range{
		{}, {Off: 0, Len: 1}, {Off: 0, Len: 4096}, {Off: 4096, Len: 4096}, {Off: 99_999}, {Off: 99_999, Len: 1},
		{Off: 99_000, Len: 5000}, {Off: 50_000}, objstore.Suffix(1), objstore.Suffix(16), objstore.Suffix(100_000), objstore.Suffix(200_000),
	} {
		off, length, err := r.In(100_000)
		if err != nil {
			t.Fatal(err)
		}
		o, err := t.peer.Get(t.Context(), "r/k", r)
		if err != nil {
			t.Errorf("%+v: %v", r, err)
			continue
		}
		got, err := io.ReadAll(o.Body)
		o.Body.Close()
		if err != nil || !bytes.Equal(got, data[off:off+length]) {
			t.Errorf("%+v: %s %v", r, short(got), err)
		}
		if o.Off != off || o.Len != length || o.Size != 100_000 || o.ETag == "" {
			t.Errorf("%+v: bytes %d+%d of %d, etag %q", r, o.Off, o.Len, o.Size, o.ETag)
		}
	}
	t.mustPut("r/empty", nil, objstore.Always)
	t.mustBe("r/empty", nil)
	for _, test := range []struct {
		key string
		r   objstore.Range
	}{
		{"r/k", objstore.Range{Off: 100_000}}, {"r/k", objstore.Range{Off: 100_000, Len: 1}}, {"r/k", objstore.Range{Off: 1 << 40, Len: 1}},
		{"r/empty", objstore.Range{Off: 0, Len: 1}}, {"r/empty", objstore.Suffix(1)},
	} {
		o, err := t.peer.Get(t.Context(), test.key, test.r)
		if err == nil {
			o.Body.Close()
		}
		t.wantErr(fmt.Sprintf("%s %+v", test.key, test.r), err, objstore.ErrRange)
	}
}

// absent: what is not there, and what is deleted.
func (t *suite) absent() {
	look := func(key string) {
		t.Helper()
		_, _, err := objstore.Read(t.Context(), t.peer, key, objstore.Range{})
		t.wantErr("Get", err, objstore.ErrNotExist)
		_, _, err = objstore.Read(t.Context(), t.peer, key, objstore.Range{Off: 5, Len: 5})
		t.wantErr("Get of a part", err, objstore.ErrNotExist)
		_, err = t.peer.Head(t.Context(), key)
		t.wantErr("Head", err, objstore.ErrNotExist)
		if err := t.s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	look("absent/folder/k")
	t.mustPut("absent/k", []byte("x"), objstore.Always)
	if err := t.s.Delete(t.Context(), "absent/k"); err != nil {
		t.Fatal(err)
	}
	look("absent/k")
	t.mustPut("absent/folder/k", []byte("x"), objstore.Always)
	look("absent/k")
	_, err := t.s.Head(t.Context(), "absent/folder") // a folder is no object
	t.wantErr("Head of a folder", err, objstore.ErrNotExist)
	_, _, err = objstore.Read(t.Context(), t.s, "absent/folder", objstore.Range{})
	t.wantErr("Get of a folder", err, objstore.ErrNotExist)
}

// tempFile writes a file.
func (t *suite) tempFile(data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// file: PutFile of little and of much.
func (t *suite) file() {
	for _, size := range []int64{0, 1000, t.FileSize} {
		data := bytesOf(uint64(size), size)
		for range 2 { // also over what is there
			if err := t.s.PutFile(t.Context(), "f/k", t.tempFile(data)); err != nil {
				t.Fatal(err)
			}
			info := t.mustBe("f/k", data)
			head, err := t.peer.Head(t.Context(), "f/k")
			if err != nil || head.ETag != info.ETag || head.ETag == "" || head.Size != size {
				t.Errorf("%d bytes: Head %+v, Get %+v, %v", size, head, info, err)
			}
		}
	}
	data := bytesOf(uint64(t.FileSize), t.FileSize)
	for off := int64(0); off < t.FileSize; off += t.FileSize / 7 { // parts, also across what was sent in parts
		got, _, err := objstore.Read(t.Context(), t.peer, "f/k", objstore.Range{Off: off, Len: t.FileSize / 5})
		want := data[off:min(off+t.FileSize/5, t.FileSize)]
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("at %d: %s, want %s, %v", off, short(got), short(want), err)
		}
	}
	_, err := t.s.Put(t.Context(), "f/k", nil, objstore.IfAbsent)
	t.wantErr("IfAbsent over a large object", err, objstore.ErrExists)
	err = t.s.PutFile(t.Context(), "f/k2", filepath.Join(t.TempDir(), "none"))
	t.wantErr("PutFile of no file", err, os.ErrNotExist)
}

// fileCancelled: nothing is seen of a file whose PutFile was cancelled before its end.
func (t *suite) fileCancelled() {
	data := bytesOf(1, t.FileSize)
	path := t.tempFile(data)
	for i := range 5 {
		key := fmt.Sprintf("f/%d", i)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*i)*time.Millisecond)
		err := t.s.PutFile(ctx, key, path)
		cancel()
		got, _, readErr := objstore.Read(t.Context(), t.peer, key, objstore.Range{})
		switch {
		case errors.Is(readErr, objstore.ErrNotExist):
			if err == nil {
				t.Errorf("round %d: PutFile succeeded, and there is no object", i)
			}
		case readErr != nil || !bytes.Equal(got, data):
			t.Errorf("round %d: PutFile %v; then %s %v", i, err, short(got), readErr)
		}
	}
}

// body: one that is closed early, or read in pieces, disturbs nothing.
func (t *suite) body() {
	data := bytesOf(1, 1<<20)
	t.mustPut("b/k", data, objstore.Always)
	for i := range 20 {
		o, err := t.peer.Get(t.Context(), "b/k", objstore.Range{})
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, i*1000)
		if _, err := io.ReadFull(o.Body, got); err != nil || !bytes.Equal(got, data[:len(got)]) {
			t.Fatalf("%s %v", short(got), err)
		}
		if err := o.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.mustBe("b/k", data)

	// What is open stays what it was, or breaks off; it does not become another.
	o, err := t.peer.Get(t.Context(), "b/k", objstore.Range{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	t.mustPut("b/k", bytesOf(2, 1<<20), objstore.Always)
	if err := t.s.Delete(t.Context(), "b/k"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(o.Body); !bytes.HasPrefix(data, got) || err == nil && len(got) != len(data) {
		t.Errorf("an open body became %s, %v", short(got), err)
	}
}

// keys: what is no key is refused everywhere.
func (t *suite) keys() {
	for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/./b", ".hidden", "a b", "ä"} {
		_, err := t.s.Put(t.Context(), key, nil, objstore.Always)
		t.wantErr("Put", err, objstore.ErrKey)
		t.wantErr("PutFile", t.s.PutFile(t.Context(), key, t.tempFile(nil)), objstore.ErrKey)
		_, err = t.s.Get(t.Context(), key, objstore.Range{})
		t.wantErr("Get", err, objstore.ErrKey)
		_, err = t.s.Head(t.Context(), key)
		t.wantErr("Head", err, objstore.ErrKey)
		t.wantErr("Delete", t.s.Delete(t.Context(), key), objstore.ErrKey)
	}
	_, err := t.listed(t.s, "../", "")
	t.wantErr("List", err, objstore.ErrKey)
}

// context: a cancelled context is an error, and nothing is done.
func (t *suite) context() {
	t.mustPut("x/k", []byte("x"), objstore.Always)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := t.s.Put(ctx, "x/k", []byte("y"), objstore.Always)
	t.wantErr("Put", err, context.Canceled)
	t.wantErr("PutFile", t.s.PutFile(ctx, "x/k", t.tempFile(nil)), context.Canceled)
	_, err = t.s.Get(ctx, "x/k", objstore.Range{})
	t.wantErr("Get", err, context.Canceled)
	_, err = t.s.Head(ctx, "x/k")
	t.wantErr("Head", err, context.Canceled)
	t.wantErr("Delete", t.s.Delete(ctx, "x/k"), context.Canceled)
	for _, err = range t.s.List(ctx, "x/", "") {
	}
	t.wantErr("List", err, context.Canceled)
	t.mustBe("x/k", []byte("x"))
}

// close: a closed store says so.
func (t *suite) close() {
	for range 2 {
		if err := t.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := t.s.Put(t.Context(), "x", nil, objstore.Always)
	t.wantErr("Put", err, objstore.ErrClosed)
	_, err = t.s.Get(t.Context(), "x", objstore.Range{})
	t.wantErr("Get", err, objstore.ErrClosed)
	_, err = t.s.Head(t.Context(), "x")
	t.wantErr("Head", err, objstore.ErrClosed)
	t.wantErr("Delete", t.s.Delete(t.Context(), "x"), objstore.ErrClosed)
	t.wantErr("PutFile", t.s.PutFile(t.Context(), "x", t.tempFile(nil)), objstore.ErrClosed)
	_, err = t.listed(t.s, "", "")
	t.wantErr("List", err, objstore.ErrClosed)
}

// counts: one request for each operation on something small.
func (t *suite) counts() {
	counting, ok := t.s.(objstore.Counting)
	if !ok {
		t.Skip("this store does not count")
	}
	before := counting.Counts()
	t.mustPut("n/k", []byte("0123456789"), objstore.IfAbsent)
	_, _ = t.s.Put(t.Context(), "n/k", []byte("x"), objstore.IfAbsent)
	_, _, _ = objstore.Read(t.Context(), t.s, "n/k", objstore.Range{Off: 2, Len: 5})
	_, _, _ = objstore.Read(t.Context(), t.s, "n/none", objstore.Range{})
	_, _ = t.s.Head(t.Context(), "n/k")
	_, _ = t.listed(t.s, "n/", "")
	_ = t.s.Delete(t.Context(), "n/k")
	got := counting.Counts().Sub(before)
	got.BytesOut = 0 // with or without the texts of errors
	want := objstore.Counts{Put: 2, Get: 2, Head: 1, List: 1, Delete: 1, Errors: 2, BytesIn: 11}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// probe: a good store is found good.
func (t *suite) probe() {
	if err := objstore.Probe(t.Context(), t.s, "db/"); err != nil {
		t.Error(err)
	}
	if left, err := t.listed(t.s, "db/", ""); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Empty deletes all objects of a store that costs money, and closes it.
func Empty(t testing.TB, s objstore.Store) {
	t.Helper()
	defer s.Close()
	for info, err := range s.List(context.Background(), "", "") {
		if err == nil {
			err = s.Delete(context.Background(), info.Key)
		}
		if err != nil {
			t.Error(err)
		}
	}
}
