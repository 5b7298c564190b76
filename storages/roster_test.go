package storages

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/internal/roster"
)

// listed returns what is in a roster, as STORAGE TYPE.
func listed(r *roster.Roster) (list []string) {
	for storage, part := range roster.All[any](r) {
		list = append(list, fmt.Sprintf("%s %T", storage, part))
	}
	slices.Sort(list)
	return list
}

// Parts that have figures to show are in the roster, under the names of their storages, until they are
// closed.
func TestRoster(t *testing.T) {
	s3 := func(name, keys string) string {
		return "<s3storage " + name + ">\nurl s3dir://$dir/" + name + "\n" + keys + "\n</s3storage>\n"
	}
	for name, test := range map[string]struct {
		text string
		opts Options
		want []string
	}{
		"a file": {"<filestorage main>\npath $dir/Data.fs\n</filestorage>", Options{Caches: true}, nil},
		"SQL":    {sqlSection("main"), Options{}, []string{"main *sqlite.DB"}},
		"SQL with caches": {sqlSection("main", "cache-servers 127.0.0.1:1"), Options{Caches: true},
			[]string{"main *cache.Storage", "main *memcached.Storage", "main *sqlite.DB"}},
		"S3":             {s3("main", ""), Options{}, []string{"main *blockcache.Cache", "main *dir.Store"}},
		"S3, to be read": {s3("main", "read-only true"), Options{}, []string{"main *blockcache.Cache", "main *dir.Store"}},
		"S3 with a front": {s3("main", "log local\nlog-dir $dir/log"), Options{},
			[]string{"main *blockcache.Cache", "main *dir.Store", "main *s3storage.Engine"}},
		"deep": {"<demostorage main>\n<zlibstorage base>\n" + sqlSection("x") + "</zlibstorage>\n" + s3("changes", "") + "</demostorage>", Options{},
			[]string{"changes *blockcache.Cache", "changes *dir.Store", "x *sqlite.DB"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first, err := Open(t.Context(), load(t, dir, s3("main", ""))[0], Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := first.Close(); err != nil { // there is something to be read
				t.Fatal(err)
			}
			var r roster.Roster
			test.opts.Roster = &r
			s, err := Open(t.Context(), load(t, dir, test.text)[0], test.opts)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, listed(&r)); diff != "" {
				t.Errorf("the roster (-want +got):\n%s", diff)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if left := listed(&r); left != nil {
				t.Errorf("left are %v", left)
			}
		})
	}
}

// What could not be opened is not in the roster.
func TestRosterOfWhatFailed(t *testing.T) {
	var r roster.Roster
	for _, text := range []string{
		"<s3storage main>\nurl s3dir://$dir/none\nread-only true\n</s3storage>",
		sqlSection("main", "read-only true"),
		sqlSection("main", "blob-dir /dev/null/blobs"),
	} {
		if s, err := Open(t.Context(), load(t, t.TempDir(), text)[0], Options{Caches: true, Roster: &r}); err == nil {
			t.Errorf("%s is opened", text)
			s.Close()
		}
		if left := listed(&r); left != nil {
			t.Errorf("%s: left are %v", text, left)
		}
	}
}
