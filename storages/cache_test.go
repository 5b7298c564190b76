package storages

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/internal/roster"
	"github.com/zaridb/zari/internal/testmemcached"
	"github.com/zaridb/zari/wrapper/cache"
	"github.com/zaridb/zari/wrapper/memcached"
	"github.com/zaridb/zari/zodb"
)

// A server has a cache of records where it is to have one, of the size that is said.
func TestCaches(t *testing.T) {
	const s3 = "url s3dir://$dir/objects"
	for name, test := range map[string]struct {
		text string
		want map[string]int64 // names and sizes
	}{
		"by default":         {sqlSection("main"), map[string]int64{"main": cache.DefaultBytes}},
		"of a size":          {sqlSection("main", "cache-local-mb 7"), map[string]int64{"main": 7 << 20}},
		"none":               {sqlSection("main", "cache-local-mb 0"), map[string]int64{}},
		"around":             {"<cache main>\nsize 5MB\n" + sqlSection("x") + "</cache>", map[string]int64{"main": 5 << 20}},
		"compressed":         {"<zlibstorage main>\n" + sqlSection("x") + "</zlibstorage>", map[string]int64{"x": cache.DefaultBytes}},
		"around compressed":  {"<cache main>\n<zlibstorage>\n" + sqlSection("x") + "</zlibstorage>\n</cache>", map[string]int64{"main": cache.DefaultBytes}},
		"two of a name":      {sqlSection("main") + "<cache x>\n<s3storage main>\n" + s3 + "\n</s3storage>\n</cache>", map[string]int64{"main": cache.DefaultBytes, "x": cache.DefaultBytes}},
		"S3":                 {"<s3storage main>\n" + s3 + "\n</s3storage>", map[string]int64{"main": cache.DefaultBytes}},
		"S3, size in URL":    {"<s3storage main>\n" + s3 + "?cache-size=3MB\n</s3storage>", map[string]int64{"main": 3 << 20}},
		"a file":             {"<filestorage main>\npath $dir/Data.fs\n</filestorage>", map[string]int64{}},
		"memory, if told to": {"<cache main>\n<mappingstorage/>\n</cache>", map[string]int64{"main": cache.DefaultBytes}},
	} {
		t.Run(name, func(t *testing.T) {
			var r roster.Roster
			opened, err := OpenAll(t.Context(), load(t, t.TempDir(), test.text), Options{Caches: true, Roster: &r})
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]int64)
			for name, c := range roster.All[*cache.Storage](&r) {
				got[name] = c.Stats().Limit
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("caches (-want +got):\n%s", diff)
			}
			useCache(t, opened[0], &r)
			for _, s := range opened {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			for name, part := range roster.All[any](&r) {
				t.Errorf("of %s a %T is left", name, part)
			}
		})
	}
}

// useCache loads an object twice.
func useCache(t *testing.T, s zodb.Storage, r *roster.Roster) {
	t.Helper()
	oid := commit(t, s)
	for range 2 {
		if rec, err := s.LoadBefore(t.Context(), oid, zodb.MaxTID); err != nil || string(rec.Data) != "data" {
			t.Errorf("%+v, %v", rec, err)
		}
	}
	for name, c := range roster.All[*cache.Storage](r) {
		if stats := c.Stats(); name == "main" && stats.Hits == 0 {
			t.Errorf("%s: %+v", name, stats)
		}
	}
}

// Commands, which read everything once, have none.
func TestNoCaches(t *testing.T) {
	s, err := Open(t.Context(), load(t, t.TempDir(), sqlSection("main", "cache-servers 127.0.0.1:1"))[0], Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, ok := zodb.As[zodb.Recaller](s); ok {
		t.Error("there is a cache")
	}
}

// cache-servers and cache-prefix are used.
func TestMemcached(t *testing.T) {
	var r roster.Roster
	text := sqlSection("main", "cache-local-mb 0", "cache-prefix plone", "cache-servers "+testmemcached.Start(t))
	s, err := Open(t.Context(), load(t, t.TempDir(), text)[0], Options{Caches: true, Roster: &r})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	oid := commit(t, s)
	for name, m := range roster.All[*memcached.Storage](&r) {
		for i := 0; m.Stats().Hits == 0; i++ { // what is kept is written beside the loads
			if rec, err := s.LoadBefore(t.Context(), oid, zodb.MaxTID); err != nil || string(rec.Data) != "data" || i > 100_000 {
				t.Fatalf("%+v, %v, %+v", rec, err, m.Stats())
			}
		}
		if name != "main" {
			t.Errorf("it is named %q", name)
		}
		return
	}
	t.Error("it is not used")
}
