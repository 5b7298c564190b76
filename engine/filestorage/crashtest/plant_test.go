package crashtest

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
)

// TestPlantedBugsAreFound breaks the storage's dealings with the disk in one way
// after the other, and wants a round to fail soon, for the right reason.
func TestPlantedBugsAreFound(t *testing.T) {
	for _, bug := range []struct {
		name  string
		plant plant
		want  []string // parts of the error, one of which must be there
	}{
		{"the batch is not synced", files(dataFile, func(f vfs.File) vfs.File { return noDatasync{f} }), []string{"lost", "opening"}},
		{"the mark is removed before the batch is synced", files(dataFile, func(f vfs.File) vfs.File { return flipFirst{f} }), []string{"opening", "not what was committed", "but it failed"}},
		{"a failed sync is tried again", files(dataFile, func(f vfs.File) vfs.File { return tryAgain{f} }), []string{"lost", "opening"}},
		{"what is found after a kill is not synced", files(dataFile, func(f vfs.File) vfs.File { return noSync{f} }), []string{"lost", "there, but"}},
		{"directories are not synced", plant{fs: func(fsys vfs.FS) vfs.FS { return noSyncDir{fsys} }}, []string{"lost", "handed out again", "name was", "blob"}},
		{"the file with the reserved oids is not synced", files(dataFile+".zari*", func(f vfs.File) vfs.File { return noSync{f} }), []string{"handed out again", "name was"}},
		{"reserved oids are not written", plant{lie: func(r *recorder, b []*txnlog.Txn, m *store.Meta) (int, error) {
			if m != nil {
				m = &store.Meta{UUID: m.UUID}
			}
			return r.Storage.Append(context.Background(), b, m)
		}}, []string{"handed out again"}},
		{"blobs are not synced", files(blobDir+"/tmp/*", func(f vfs.File) vfs.File { return noSync{f} }), []string{"the blob of", ".layout"}},
		{"errors are acknowledged", plant{lie: func(r *recorder, b []*txnlog.Txn, m *store.Meta) (int, error) {
			r.Storage.Append(context.Background(), b, m)
			return len(b), nil
		}}, []string{"lost", "never got it"}},
		{"commits in doubt are refused", plant{lie: func(r *recorder, b []*txnlog.Txn, m *store.Meta) (int, error) {
			n, err := r.Storage.Append(context.Background(), b, m)
			if err != nil {
				err = errors.New("it failed")
			}
			return n, err
		}}, []string{"but it failed"}},
		{"the last transaction of a batch is forgotten", plant{lie: func(r *recorder, b []*txnlog.Txn, m *store.Meta) (int, error) {
			if len(b) < 2 {
				return r.Storage.Append(context.Background(), b, m)
			}
			_, err := r.Storage.Append(context.Background(), b[:len(b)-1], m)
			if err != nil {
				return 0, err
			}
			return len(b), nil
		}}, []string{"lost"}},
		{"a batch is acknowledged with the one before", plant{early: true}, []string{"lost"}},
		{"a pack renames before it syncs", files(dataFile+".pack", func(f vfs.File) vfs.File { return noSync{f} }), []string{"lost", "opening"}},
	} {
		t.Run(bug.name, func(t *testing.T) {
			for seed := range uint64(2000) {
				_, _, err := play(t, seed, bug.plant)
				if err == nil {
					continue
				}
				t.Logf("seed %d: %v", seed, err)
				for _, part := range bug.want {
					if strings.Contains(err.Error(), part) {
						return
					}
				}
				t.Fatalf("found in another way than by any of %q", bug.want)
			}
			t.Error("not found")
		})
	}
}

// files plants a bug in the files that match a pattern; "/*" at its end stands
// for everything below.
func files(pattern string, wrap func(vfs.File) vfs.File) plant {
	return plant{fs: func(fsys vfs.FS) vfs.FS { return &wrapFiles{fsys, pattern, wrap} }}
}

type wrapFiles struct {
	vfs.FS
	pattern string
	wrap    func(vfs.File) vfs.File
}

func (w *wrapFiles) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := w.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	below, all := strings.CutSuffix(w.pattern, "/*")
	if match, _ := filepath.Match(w.pattern, name); match || all && strings.HasPrefix(name, below) {
		return w.wrap(f), nil
	}
	return f, nil
}

type noSyncDir struct{ vfs.FS }

func (noSyncDir) SyncDir(string) error { return nil }

type noSync struct{ vfs.File }

func (noSync) Sync() error { return nil }

type noDatasync struct{ vfs.File }

func (noDatasync) Datasync() error { return nil }

type tryAgain struct{ vfs.File }

func (f tryAgain) Datasync() error {
	if f.File.Datasync() == nil {
		return nil
	}
	return f.File.Datasync()
}

// flipFirst removes the mark of an unfinished transaction as soon as it is
// written.
type flipFirst struct{ vfs.File }

func (f flipFirst) WriteAt(b []byte, off int64) (int, error) {
	const status = 16
	if len(b) > status && b[status] == 'c' && b[0] == 3 { // the tids of our time begin with 3
		b = append([]byte(nil), b...)
		b[status] = ' '
	}
	return f.File.WriteAt(b, off)
}
