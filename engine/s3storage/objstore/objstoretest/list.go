package objstoretest

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// listed returns the keys of a list.
func (t *suite) listed(s objstore.Store, prefix, after string) ([]string, error) {
	var keys []string
	for info, err := range s.List(t.Context(), prefix, after) {
		if err != nil {
			return keys, err
		}
		keys = append(keys, info.Key)
	}
	return keys, nil
}

// wantList compares a list with the keys that it must show.
func (t *suite) wantList(prefix, after string, all []string) {
	t.Helper()
	var want []string
	for _, key := range all {
		if strings.HasPrefix(key, prefix) && key > after {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	got, err := t.listed(t.peer, prefix, after)
	if err != nil {
		t.Error(err)
		return
	}
	if t.Unordered {
		slices.Sort(got)
	}
	if !slices.Equal(got, want) {
		t.Errorf("list of %q after %q: %d keys %.300v, want %d: %.300v", prefix, after, len(got), got, len(want), want)
	}
}

// list: all keys of a prefix, in the order of their bytes, over many pages.
func (t *suite) list() {
	t.wantList("", "", nil)
	t.wantList("none/", "", nil)

	// "-" and "." come before "/", digits and letters after it.
	all := []string{"l/a/1", "l/a-b", "l/a.b", "l/a0", "l/a=", "l/a_", "l/B/x", "l/b/c/d/e", "l/b/c1", "l/z", "m", "l0/x", "k/x"}
	for i := range t.Objects {
		all = append(all, fmt.Sprintf("many/%05d", i))
	}
	var wg sync.WaitGroup
	parts := slices.Chunk(all, len(all)/16+1)
	for part := range parts {
		wg.Go(func() {
			for _, key := range part {
				if _, err := t.s.Put(t.Context(), key, []byte(key), objstore.IfAbsent); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()

	for _, prefix := range []string{"", "l/", "l/a/", "l/b/", "l/b/c/", "many/", "none/"} {
		t.wantList(prefix, "", all)
	}
	for _, after := range []string{"l/a.b", "l/a/", "l/a/1", "l/a/2", "l/b/c/zzz", "l/", "l/zzz", "a", "zzz"} {
		t.wantList("l/", after, all)
		t.wantList("", after, all)
	}
	t.wantList("many/", fmt.Sprintf("many/%05d", t.Objects/2), all)
	t.wantList("many/", fmt.Sprintf("many/%05d", t.Objects-1), all)
	t.listInfo()

	n := 0
	for _, err := range t.peer.List(t.Context(), "many/", "") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	for _, key := range all[:5] {
		if err := t.s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	t.wantList("l/", "", all[5:])
}

// listInfo compares what a list says of an object with what Head says.
func (t *suite) listInfo() {
	for info, err := range t.peer.List(t.Context(), "l/", "") {
		if err != nil {
			t.Fatal(err)
		}
		head, err := t.peer.Head(t.Context(), info.Key)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size != head.Size || info.ETag != "" && info.ETag != head.ETag || head.Modified.Sub(info.Modified).Abs().Seconds() >= 1 {
			t.Errorf("List says %+v, Head %+v", info, head)
		}
	}
}
