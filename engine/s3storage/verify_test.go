package s3storage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/zodb"
)

// everything makes a database that has every kind of object: a branch, that is, with a branch.
func everything(t *testing.T) (*family, *Engine) {
	t.Helper()
	f := newFamily("origin", "a", "b")
	withBlobs := func(o *Options) { o.BlobDir, o.SegmentBytes, o.Lease = t.TempDir(), 700, 30*time.Second }
	origin := f.open(t, "origin", withBlobs)
	for range 5 {
		mustCommit(t, origin, 1, 2)
	}
	commitBlob(t, origin, 7, "the blob of the origin")
	if err := origin.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.branch(t, "origin", "a", 0)
	a := f.open(t, "a", withBlobs)
	for range 3 {
		for range 4 {
			mustCommit(t, a, 1, 2, 3)
		}
		commitBlob(t, a, 8, "a blob")
		for _, do := range []func(context.Context) error{a.Compact, a.Checkpoint} {
			if err := do(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.pass(25 * time.Hour)
	if err := a.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.branch(t, "a", "b", 0)
	last, _ := a.Head()
	if err := a.Pack(t.Context(), last-4, zodb.PackOptions{NoGC: true}); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, a, 4)
	if err := a.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		mustCommit(t, a, 1, 5)
	}
	return f, a
}

// verify returns what Verify finds that is worse than a note.
func (f *family) verify(t *testing.T, name string, quick bool) []Problem {
	t.Helper()
	report, found := f.report(t, name, quick)
	if len(found) == 0 && (report.Revisions == 0 || report.Blobs == 0 || report.Slot == 0) {
		t.Errorf("Verify has seen nothing: %+v", report)
	}
	return found
}

// report returns what Verify says, and what it finds that is worse than a note.
func (f *family) report(t *testing.T, name string, quick bool) (report VerifyReport, found []Problem) {
	t.Helper()
	report, err := Verify(t.Context(), f.options(name), VerifyOptions{Quick: quick, Found: func(p Problem) {
		if p.Severity != Note {
			found = append(found, p)
		}
	}})
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return report, found
}

func TestVerifyHealthy(t *testing.T) {
	f, _ := everything(t)
	for name := range f.buckets {
		for _, quick := range []bool{false, true} {
			if found := f.verify(t, name, quick); len(found) > 0 {
				t.Errorf("%s, quick %v: %v", name, quick, found)
			}
		}
	}
}

// needed returns what of a database must be there and right.
func needed(t *testing.T, f *family, a *Engine) map[string]bool {
	t.Helper()
	garbage := make(map[string]bool)
	for _, g := range a.st.garbage {
		garbage[g.Key] = true
	}
	named := (&audit{Engine: a}).known()
	list := make(map[string]bool)
	for key := range f.buckets["a"].Objects() {
		slot, isLog := slotOfKey(key)
		switch kind := kindOf(key); {
		case garbage[key]: // it may be deleted at any time
		case isLog:
			list[key] = slot > 0
		case named[key], kind == layout.PinPrefix, kind == layout.SharedPrefix, kind == key:
			list[key] = true
		}
	}
	return list
}

// Every byte that is flipped, and every object that is missing, is found, and named.
func TestVerifyFindsDamage(t *testing.T) {
	f, a := everything(t)
	whole := f.buckets["a"].Objects()
	client := f.buckets["a"].Open("damage")
	put := func(key string, body []byte) {
		t.Helper()
		if _, err := client.Put(t.Context(), key, body, objstore.Always); err != nil {
			t.Fatal(err)
		}
	}
	check := func(key, what string, quick bool) {
		t.Helper()
		found := f.verify(t, "a", quick)
		if !slices.ContainsFunc(found, func(p Problem) bool { return p.Key == key }) {
			t.Errorf("%s, %s, quick %v: found are %v", key, what, quick, found)
		}
	}
	kinds := make(map[string]int)
	keys := slices.Sorted(maps.Keys(needed(t, f, a)))
	for _, key := range keys {
		body := whole[key]
		kinds[kindOf(key)]++
		for i := 0; i < len(body); i += 1 + len(body)/5 {
			damaged := slices.Clone(body)
			damaged[i] ^= 0x10
			put(key, damaged)
			check(key, fmt.Sprintf("byte %d of %d", i, len(body)), false)
		}
		put(key, body[:len(body)-1])
		check(key, "cut off", false)
		put(key, body)
		if key == layout.HintKey || key == layout.LeaseKey || key == layout.PinsKey {
			continue // they may be missing
		}
		if slot, isLog := slotOfKey(key); isLog && slot == a.Slot() {
			continue // nobody can know that it was there
		}
		if err := client.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if key == layout.FormatKey {
			if _, err := Verify(t.Context(), f.options("a"), VerifyOptions{}); err == nil {
				t.Error("no database is found to be whole")
			}
		} else if key != layout.FloorKey {
			check(key, "missing", false)
		} else if found := f.verify(t, "a", false); len(found) == 0 {
			t.Error("the floor is missing, and nothing is found")
		}
		put(key, body)
	}
	for _, kind := range []string{
		layout.FormatKey, layout.FloorKey, layout.HintKey, layout.LeaseKey, layout.PinsKey, layout.LogPrefix, layout.SegmentPrefix,
		layout.RunPrefix, layout.CheckpointPrefix, layout.BlobPrefix, layout.PinPrefix, layout.SharedPrefix,
	} {
		if kinds[kind] == 0 {
			t.Errorf("the database has no %s", kind)
		}
	}
	if found := f.verify(t, "a", false); len(found) > 0 {
		t.Errorf("after all is as it was: %v", found)
	}
}

// What only branches need is missed in their database, and in them.
func TestVerifyMissesWhatBranchesNeed(t *testing.T) {
	f, a := everything(t)
	last, _ := a.Head()
	if err := a.Pack(t.Context(), last, zodb.PackOptions{NoGC: true}); err != nil { // all that is shared is garbage
		t.Fatal(err)
	}
	f.collectAll(t, a)
	shares := 0
	for key, body := range f.buckets["a"].Objects() {
		if !strings.HasPrefix(key, layout.PinPrefix) {
			continue
		}
		share, err := layout.DecodeShare(body)
		if err != nil {
			t.Fatal(err)
		}
		client := f.buckets["a"].Open("damage")
		for needed, body := range f.buckets["a"].Objects() {
			if !share.Has(needed) {
				continue
			}
			shares++
			if err := client.Delete(t.Context(), needed); err != nil {
				t.Fatal(err)
			}
			for name, key := range map[string]string{"a": key, "b": needed} {
				found := f.verify(t, name, true)
				if !slices.ContainsFunc(found, func(p Problem) bool { return p.Key == key || p.Key == needed }) {
					t.Errorf("%s without %s: found are %v", name, needed, found)
				}
			}
			if _, err := client.Put(t.Context(), needed, body, objstore.Always); err != nil {
				t.Fatal(err)
			}
		}
	}
	if shares < 3 {
		t.Errorf("only %d objects are shared", shares)
	}
}

// What should not be there is named too.
func TestVerifyFindsExtras(t *testing.T) {
	f, a := everything(t)
	client := f.buckets["a"].Open("extra")
	extras := map[string]Severity{
		"backup/Data.fs": Warning, layout.SegmentKey(layout.NewID()): Note, layout.BlobKey(3, layout.NewID()): Note,
		layout.ProbePrefix + "probe-1": Note, layout.LogKey(1): Note, "log/x": Warning,
		layout.LogKey(a.Slot() + 2): Error, // then one is missing
	}
	for key, want := range extras {
		if _, err := client.Put(t.Context(), key, []byte("x"), objstore.Always); err != nil {
			t.Fatal(err)
		}
		var found []Problem
		if _, err := Verify(t.Context(), f.options("a"), VerifyOptions{Found: func(p Problem) { found = append(found, p) }}); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(found, func(p Problem) bool { return p.Key == key && p.Severity == want }) {
			t.Errorf("%s: found are %v", key, found)
		}
		if err := client.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}

// An index that says something else than the transactions is found, though all checksums are
// right.
func TestVerifyComparesTheIndex(t *testing.T) {
	f, a := everything(t)
	c := &audit{Engine: a}
	for key, body := range f.buckets["a"].Objects() {
		if !strings.HasPrefix(key, layout.RunPrefix) || !c.known()[key] {
			continue
		}
		info := a.st.runs[slices.IndexFunc(a.st.runs, func(r run) bool { return layout.RunKey(r.ID) == key })]
		x, err := layout.OpenRun(body, a.st.database, info.ID)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := x.Next(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, what := range []string{"other place", "too many", "too few"} {
			w := layout.NewRunWriter(a.st.database)
			for _, p := range x.Places {
				w.Place(p)
			}
			for i, e := range entries {
				switch {
				case what == "other place" && i == 0:
					e.Off++
				case what == "too few" && i == 0:
					continue
				}
				w.Add(e)
			}
			if what == "too many" {
				e := entries[len(entries)-1]
				e.OID++
				w.Add(e)
			}
			for _, b := range x.Blobs {
				w.Blob(b)
			}
			wrong, _ := w.Close()
			client := f.buckets["a"].Open("wrong")
			for _, object := range [][]byte{wrong, body} {
				if _, err := client.Put(t.Context(), key, object, objstore.Always); err != nil {
					t.Fatal(err)
				}
				found := f.verify(t, "a", true)
				if (len(found) > 0) != (&object[0] == &wrong[0]) {
					t.Errorf("%s: %v", what, found)
				}
			}
		}
		return
	}
	t.Fatal("there is no run")
}

// A healthy database is found to be so while servers commit, compact, pack and collect, and
// time passes.
func TestVerifyWhileServersGoOn(t *testing.T) {
	f, a := everything(t)
	stop := make(chan struct{})
	done := make(chan error)
	go func() {
		var err error
		for n := 0; err == nil; n++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			last, _ := a.Head()
			switch n % 9 {
			case 3:
				err = a.Compact(context.Background())
			case 5:
				err = a.Checkpoint(context.Background())
			case 7:
				err = a.Pack(context.Background(), last-3, zodb.PackOptions{NoGC: true})
			case 8:
				f.pass(25 * time.Hour)
				err = a.Collect(context.Background())
			default:
				_, err = commit(a, 1, zodb.OID(10+n%20))
			}
		}
		done <- err
	}()
	slots, seen := a.Slot(), int64(0)
	for n := 0; n < 60 || a.Slot() < slots+200; n++ {
		report, found := f.report(t, "a", n%2 == 0)
		if len(found) > 0 {
			t.Errorf("%v", found)
			break
		}
		seen += report.Revisions // none, if time has passed so fast that all was moved meanwhile
	}
	if seen == 0 {
		t.Error("Verify has seen nothing")
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if found := f.verify(t, "a", false); len(found) > 0 {
		t.Errorf("in the end: %v", found)
	}
}
