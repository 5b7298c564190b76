package storages

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/zodb"
)

// load reads a configuration; $dir in it is a folder of the test.
func load(t testing.TB, dir, text string) []config.Storage {
	t.Helper()
	path := filepath.Join(dir, "test.conf")
	if err := os.WriteFile(path, []byte("%define dir "+dir+"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.LoadStorages(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Storages
}

// commit stores a new object and returns its oid.
func commit(t *testing.T, s zodb.Storage) zodb.OID {
	t.Helper()
	return commitData(t, s, []byte("data"))
}

func commitData(t *testing.T, s zodb.Storage, data []byte) zodb.OID {
	t.Helper()
	ctx := context.Background()
	oids, err := s.NewOIDs(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	txn, err := s.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	if err := txn.Store(ctx, oids[0], 0, data); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Finish(ctx, nil); err != nil {
		t.Fatal(err)
	}
	return oids[0]
}

func TestSharedStorageIsOpenedOnce(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	c := load(t, dir, `
<use 1>
  storage main
</use>
<zodb 2>
  <use main/>
</zodb>
<filestorage main>
  path $dir/Data.fs
  blob-dir $dir/blobs
</filestorage>
`)
	list, err := OpenAll(ctx, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	oid := commit(t, list[0])
	for i, s := range list {
		if _, err := s.LoadBefore(ctx, oid, zodb.MaxTID); err != nil {
			t.Errorf("storage %d: %v", i, err)
		}
		if _, ok := zodb.As[zodb.BlobStore](s); !ok {
			t.Errorf("storage %d keeps no blobs", i)
		}
		if _, ok := zodb.As[zodb.Prefetcher](s); ok {
			t.Errorf("storage %d has an ability that a file has not", i)
		}
	}
	for _, i := range []int{0, 0, 2} {
		if err := list[i].Close(); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, list[1]) // two are closed, one of them twice: the third still has it
	if err := list[1].Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := list[1].Begin(ctx, zodb.TxnMeta{}); err == nil {
		t.Error("the storage is open after all who use it are closed")
	}
	again, err := Open(ctx, c[2], Options{})
	if err != nil {
		t.Fatalf("the file is still locked: %v", err)
	}
	defer again.Close()
	if again.Info().Objects != 2 {
		t.Errorf("%+v", again.Info())
	}
}

// What was opened before a storage that cannot be is closed.
func TestOpenAllIsAllOrNothing(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	c := load(t, dir, `
<filestorage 1>
  path $dir/Data.fs
</filestorage>
<use 3>
  storage 1
</use>
<filestorage 2>
  path $dir/absent/Data.fs
</filestorage>
`)
	_, err := OpenAll(ctx, c, Options{})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), `test.conf:9: storage "2": `) {
		t.Errorf("%v", err)
	}
	s, err := Open(ctx, c[0], Options{})
	if err != nil {
		t.Fatalf("the first one is still open: %v", err)
	}
	s.Close()
}

func TestOpenURL(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	path := filepath.Join(dir, "Data.fs")
	s, err := OpenURL(ctx, "file://"+path+"?blobstorage_dir="+dir+"/blobs", Options{})
	if err != nil {
		t.Fatal(err)
	}
	oid := commit(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = OpenURL(ctx, path, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.LoadBefore(ctx, oid, zodb.MaxTID); err != nil {
		t.Error(err)
	}
	if _, err := s.Begin(ctx, zodb.TxnMeta{}); !errors.Is(err, zodb.ErrReadOnly) {
		t.Errorf("a storage opened to be read takes transactions: %v", err)
	}
	if _, err := OpenURL(ctx, "file://"+path+"?create=1", Options{ReadOnly: true}); err == nil {
		t.Error("create, where nothing is to be written")
	}
	absent := filepath.Join(dir, "absent")
	for _, url := range []string{absent, "file://" + path + "?blobstorage_dir=" + absent, "demo:(" + path + ")/(" + absent + ")"} {
		if _, err := OpenURL(ctx, url, Options{Existing: true}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s, which is not there, is opened: %v", url, err)
		}
		if _, err := os.Lstat(absent); err == nil {
			t.Errorf("%s: what is not there was made", url)
		}
	}
	if _, err := OpenURL(ctx, "file://"+path+"?create=1", Options{Existing: true}); err == nil {
		t.Error("create, where nothing is to be thrown away")
	}
	if _, err := OpenURL(ctx, "ftp://x", Options{}); err == nil {
		t.Error("ftp://x is opened")
	}
}

// A demo storage writes to its changes alone, which are gone where they are not
// configured.
func TestDemoStorage(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	base := filepath.Join(dir, "Data.fs")
	s, err := OpenURL(ctx, base, Options{})
	if err != nil {
		t.Fatal(err)
	}
	old := commit(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	volatile := load(t, dir, `
<demostorage 1>
  <filestorage>
    path $dir/Data.fs
  </filestorage>
</demostorage>
`)[0]
	durable := load(t, dir, `
<demostorage 1>
  <filestorage>
    path $dir/Data.fs
    read-only true
  </filestorage>
  <filestorage changes>
    path $dir/Changes.fs
  </filestorage>
</demostorage>
`)[0]
	var written zodb.OID
	for i, c := range []config.Storage{volatile, volatile, durable, durable} {
		s, err := Open(ctx, c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.LoadBefore(ctx, old, zodb.MaxTID); err != nil {
			t.Errorf("opened as %d: an object of the base: %v", i, err)
		}
		if written != 0 {
			if _, err := s.LoadBefore(ctx, written, zodb.MaxTID); (err == nil) != (i == 3) {
				t.Errorf("opened as %d: an object that was written before: %v", i, err)
			}
		}
		written = commit(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	empty := load(t, dir, "<demostorage 1>\n</demostorage>\n")[0]
	if s, err = Open(ctx, empty, Options{}); err != nil {
		t.Fatal(err)
	}
	commit(t, s)
	if _, ok := zodb.As[zodb.BlobStore](s); !ok {
		t.Error("changes in memory keep no blobs")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
