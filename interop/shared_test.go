package interop

import (
	"os"
	"path/filepath"
	"testing"
)

const sharedSections = `
<storages>
  <filestorage live>
    path Data.fs
  </filestorage>
</storages>
<use 1>
  storage live
</use>
<use again>
  storage live
</use>
<readonly public>
  <use live/>
</readonly>
<demostorage trial>
  <use live/>
  <filestorage changes>
    path changes.fs
  </filestorage>
</demostorage>
`

// TestShared serves one file under several names. What is committed through one
// is told to the clients of the others; the file is opened, and closed, once.
func TestShared(t *testing.T) {
	if setup.zari == "" {
		t.Skip("shared storages are zari's own")
	}
	dir := t.TempDir()
	for range 2 { // the second time over what the first left
		s := start(t, options{dir: dir, storage: sharedSections})
		got := python[struct {
			Seen                 int
			Refused, Apart, Kept bool
		}](t, dir, "shared.py", s.addr)
		if got.Seen != 40 || !got.Refused || !got.Apart || !got.Kept {
			t.Errorf("%+v", got)
		}
		s.stop()
	}
	if _, err := os.Stat(filepath.Join(dir, "changes.fs")); err != nil {
		t.Error(err)
	}
}
