package interop

import (
	"fmt"
	"testing"
)

// TestViews compares views of a storage as it was with what Python makes of the
// live one.
func TestViews(t *testing.T) {
	needModule(t, "zc.beforestorage")
	if setup.zari == "" {
		t.Skip("views are zari's own")
	}
	s, dir := serveFresh(t, options{storage: blobSection})
	got := python[struct{ Views, Objects, Wrong int }](t, dir, "views.py", s.addr)
	if got.Views != 12 || got.Objects < 7 || got.Wrong != 5 {
		t.Errorf("compared %+v", got)
	}
	s.stop()
}

// TestBeforeSection serves a file as it was, from the configuration.
func TestBeforeSection(t *testing.T) {
	needModule(t, "zc.beforestorage")
	dir := t.TempDir()
	compressed(t, dir, "write", "file:Data.fs", "none", 1)
	for at, seen := range map[string]bool{"2001-02-03T04:05": false, "2999-01-01": true} {
		s := start(t, options{dir: dir, storage: fmt.Sprintf(
			"%%import zc.beforestorage\n<before>\n  before %s\n  <filestorage>\n    path Data.fs\n  </filestorage>\n</before>\n", at)})
		got := python[struct{ Objects int }](t, dir, "beforesection.py", s.addr)
		if (got.Objects > 0) != seen {
			t.Errorf("before %s there are %d objects", at, got.Objects)
		}
		s.stop()
	}
}
