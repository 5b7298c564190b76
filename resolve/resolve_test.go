package resolve

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb/pickle"
)

// record makes a record of a class of BTrees.
func record(t testing.TB, module, name string, state any) []byte {
	t.Helper()
	data, err := pickle.EncodeRecord(&pickle.Global{Module: module, Name: name}, state)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func treeSet(t testing.TB, keys ...any) []byte {
	t.Helper()
	return record(t, "BTrees.OOBTree", "OOTreeSet", pickle.Tuple{pickle.Tuple{pickle.Tuple{pickle.Tuple(keys)}}})
}

func length(t testing.TB, n any) []byte { return record(t, "BTrees.Length", "Length", n) }

func zipped(data []byte) []byte {
	var b bytes.Buffer
	b.WriteString(".z")
	z := zlib.NewWriter(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

func TestMerge(t *testing.T) {
	got, reason := Merge(treeSet(t, "b"), treeSet(t, "b", "c"), treeSet(t, "a", "b"))
	if want := treeSet(t, "a", "b", "c"); reason != NoReason || !bytes.Equal(got, want) {
		t.Errorf("%v: %q, want %q", reason, got, want)
	}
}

// TestCompressed: what zc.zlibstorage has compressed is merged, and comes out plain.
func TestCompressed(t *testing.T) {
	got, reason := Merge(zipped(length(t, int64(1))), length(t, int64(3)), zipped(length(t, int64(6))))
	if want := length(t, int64(8)); reason != NoReason || !bytes.Equal(got, want) {
		t.Errorf("%v: %q, want %q", reason, got, want)
	}
}

// TestBomb: a small record that decompresses to much is refused, not decompressed.
func TestBomb(t *testing.T) {
	bomb := zipped(make([]byte, MaxRecord+1))
	if _, reason := Merge(bomb, bomb, bomb); reason != TooLarge {
		t.Errorf("%v", reason)
	}
}

func TestRefusals(t *testing.T) {
	tree := func(keys ...any) []byte { return treeSet(t, keys...) }
	app := &pickle.Object{Making: pickle.Reduce, Class: &pickle.Global{Module: "app", Name: "Thing"}}
	deep, wide := any(int64(1)), any("x")
	for range 2 * maxDepth {
		deep = pickle.Tuple{deep}
	}
	for range 40 { // shared halves: 2**40 leaves
		wide = pickle.Tuple{wide, wide}
	}
	for _, tt := range []struct {
		name                    string
		base, committed, wanted []byte
		want                    Reason
	}{
		{"no class", nil, nil, []byte("x"), BadRecord},
		{"plain class", nil, nil, record(t, "app", "Thing", nil), UnknownClass},
		{"in Python", nil, nil, record(t, "BTrees.OOBTree", "OOTreeSetPy", nil), UnknownClass},
		{"class with arguments", nil, nil, mustEncode(t, pickle.Tuple{&pickle.Global{Module: "BTrees.Length", Name: "Length"}, pickle.Tuple{int64(1)}}), UnknownClass},
		{"class changed", length(t, int64(1)), tree("a"), tree("b"), OtherClass},
		{"truncated", tree("a")[:30], tree("a"), tree("b"), BadRecord},
		{"trailing", append(tree("a"), 'N', '.'), tree("a"), tree("b"), BadRecord},
		{"instances", tree(app), tree(app, "b"), tree(app, "c"), Uncertain},
		{"mixed types", tree("a"), tree(int64(1)), tree("b"), Incomparable},
		{"too deep", tree(deep), tree(deep), tree(deep), TooLarge},
		{"too much to compare", tree(wide), tree(wide), tree(wide), TooLarge},
		{"bad UTF-8", tree("\xff"), tree("\xff"), tree("\xff"), BadRecord},
		{"empty", tree("a"), tree(), tree("b"), EmptyBucket},
		{"first key deleted", tree("a", "b"), tree("b"), tree("a", "b", "c"), FirstDeleted},
		{"inserted twice", tree("a"), tree("a", "b"), tree("a", "b"), BothInserted},
		{"deleted twice", tree("a", "b"), tree("a"), tree("a"), BothDeleted},
		{"length of text", length(t, "a"), length(t, "b"), length(t, "c"), Incomparable},
	} {
		got, reason := Merge(tt.base, tt.committed, tt.wanted)
		if reason != tt.want || got != nil {
			t.Errorf("%s: %v %q, want %v", tt.name, reason, got, tt.want)
		}
	}
}

func mustEncode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := pickle.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRenamed: names that another protocol changes are not carried over.
func TestRenamed(t *testing.T) {
	set := func(header, module string, keys string) []byte {
		return []byte(header + "cBTrees.IOBTree\nIOBucket\n." + header + "(K\x01c" + module + "\nset\n]K\x05a\x85R" + keys + "t\x85.")
	}
	two, three := "\x80\x02", "\x80\x03"
	merge := func(header, module string) Reason {
		_, reason := Merge(set(header, module, ""), set(header, module, "K\x02K\x02"), set(header, module, "K\x03K\x03"))
		return reason
	}
	if got := merge(two, "__builtin__"); got != Uncertain {
		t.Errorf("an old name in protocol 2: %v", got)
	}
	if got := merge(three, "builtins"); got != NoReason {
		t.Errorf("a new name in protocol 3: %v", got)
	}
}

// TestCyclic: a key that contains itself ends.
func TestCyclic(t *testing.T) {
	l := pickle.NewList()
	l.Items = append(l.Items, l)
	s := treeSet(t, pickle.Tuple{l})
	if _, reason := Merge(s, s, s); reason != TooLarge {
		t.Errorf("%v", reason)
	}
	ref := &pickle.Ref{ID: l}
	s = record(t, "BTrees.OOBTree", "OOSet", pickle.Tuple{pickle.Tuple{"a"}, ref})
	if _, reason := Merge(s, s, s); reason != SplitBucket {
		t.Errorf("%v", reason)
	}
}

func TestStats(t *testing.T) {
	r := New(Options{})
	one, two, three := length(t, int64(1)), length(t, int64(2)), length(t, int64(3))
	r.Resolve(one, two, three)
	r.ResolveUndo(one, two, three)
	r.ResolveUndo(one, two, length(t, nil))
	if _, ok := r.Resolve(one, two, record(t, "app", "Thing", nil)); ok {
		t.Error("an unknown class was merged")
	}
	r.Resolve(one, two, []byte("hello"))
	got, err := json.Marshal(r.Stats())
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"Class":"BTrees.Length.Length","Stores":{"merged":1},"Undos":{"incomparable":1,"merged":1}},` +
		`{"Class":"app.Thing","Stores":{"unknown class":1},"Undos":{}},` +
		`{"Class":"other","Stores":{"bad record":1},"Undos":{}}]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// TestClassesAreBounded: clients cannot make more names than maxClasses, nor strange ones.
func TestClassesAreBounded(t *testing.T) {
	r := New(Options{})
	for i := range 3 * maxClasses {
		r.Resolve(nil, nil, record(t, "app", fmt.Sprint("Thing", i), nil))
	}
	for _, name := range []string{strings.Repeat("x", 500), "\xff", "a b"} {
		r.Resolve(nil, nil, record(t, "app", name, nil))
	}
	stats := r.Stats()
	if len(stats) > maxClasses+1 || stats[0].Class != otherClasses || stats[0].conflicts() != 2*maxClasses+3 {
		t.Errorf("%d classes; first %+v", len(stats), stats[0])
	}
}

func TestLeaveToClients(t *testing.T) {
	r := New(Options{LeaveToClients: true})
	one, two, three := length(t, int64(1)), length(t, int64(2)), length(t, int64(3))
	if _, ok := r.Resolve(one, two, three); ok {
		t.Error("a store was merged")
	}
	if _, ok := r.ResolveUndo(one, two, three); !ok {
		t.Error("an undo was not merged")
	}
	if got := r.Stats()[0]; got.Stores.Refused[LeftToClients] != 1 || got.Undos.Merged != 1 {
		t.Errorf("%+v", got)
	}
}

// FuzzMerge merges hostile records. What comes out can be merged again.
func FuzzMerge(f *testing.F) {
	ref := &pickle.Ref{ID: pickle.Tuple{[]byte("\x00\x00\x00\x00\x00\x00\x00\x01"), &pickle.Global{Module: "BTrees.IFBTree", Name: "IFBucket"}}}
	bucket := func(items ...any) []byte {
		return record(f, "BTrees.IFBTree", "IFBucket", pickle.Tuple{pickle.Tuple(items), ref})
	}
	queue := func(items ...any) []byte {
		return record(f, "zc.queue._queue", "Queue", pickle.NewDict("_data", pickle.Tuple(items)))
	}
	f.Add(treeSet(f, "b"), treeSet(f, "b", "c"), treeSet(f, "a", "b"))
	f.Add(length(f, int64(1)), length(f, 2.5), length(f, true))
	f.Add(bucket(int64(1), 1.0), bucket(int64(1), 1.0, int64(2), 2.0), bucket(int64(0), int64(1), int64(1), 1.0))
	f.Add(queue("a", "b"), queue("b", ref), queue("a", "b", int64(3)))
	f.Add(zipped(length(f, int64(1))), length(f, int64(1)), length(f, int64(1)))
	session := record(f, "Products.Transience.TransientObject", "TransientObject", pickle.NewDict("token", "t", "_last_modified", 1.5))
	f.Add(session, session, session)
	f.Fuzz(func(t *testing.T, base, committed, wanted []byte) {
		merged, reason := Merge(base, committed, wanted)
		if (merged != nil) != (reason == NoReason) {
			t.Fatalf("%v with %q", reason, merged)
		}
		if merged == nil {
			return
		}
		if _, _, err := pickle.DecodeRecord(merged); err != nil {
			t.Fatalf("what was merged cannot be read: %v", err)
		}
		if _, reason := Merge(merged, merged, merged); reason == UnknownClass || reason == OtherClass || reason == SplitBucket {
			t.Fatalf("what was merged is refused: %v", reason)
		}
	})
}

// BenchmarkMerge merges typical conflicts: two inserts into a bucket. With
// ZARI_PYTHON it tells how much faster that is than Python in the same run.
func BenchmarkMerge(b *testing.B) {
	items := func(n int, key func(int) any, without int) pickle.Tuple {
		var all pickle.Tuple
		for i := range n {
			if i != without {
				all = append(all, key(i), int64(i))
			}
		}
		return pickle.Tuple{all}
	}
	text := func(i int) any { return fmt.Sprintf("/plone/folder/document-%04d", i) }
	number := func(i int) any { return int64(1_000_000 + 7*i) }
	conflict := func(module, name string, n int, key func(int) any) [3][]byte {
		var records [3][]byte
		all := items(n, key, -1)[0].(pickle.Tuple)
		without := func(gone ...int) pickle.Tuple {
			var some pickle.Tuple
			for i := 0; i < len(all); i += 2 {
				if i/2 != gone[0] && i/2 != gone[len(gone)-1] {
					some = append(some, all[i], all[i+1])
				}
			}
			return pickle.Tuple{some}
		}
		records[0] = record(b, module, name, without(n/3, n/2))
		records[1] = record(b, module, name, without(n/3))
		records[2] = record(b, module, name, without(n/2))
		return records
	}
	for _, bb := range []struct {
		name    string
		records [3][]byte
	}{
		{"OOBucket", conflict("BTrees.OOBTree", "OOBucket", 45, text)},
		{"IIBucket", conflict("BTrees.IIBTree", "IIBucket", 90, number)},
		{"Length", [3][]byte{length(b, int64(10)), length(b, int64(11)), length(b, int64(12))}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			began := cpuTime(b)
			for b.Loop() {
				if _, reason := Merge(bb.records[0], bb.records[1], bb.records[2]); reason != NoReason {
					b.Fatal(reason)
				}
			}
			if python := os.Getenv("ZARI_PYTHON"); python != "" {
				ns := float64((cpuTime(b) - began).Nanoseconds()) / float64(b.N)
				b.ReportMetric(ns, "cpu-ns/op")
				b.ReportMetric(pythonTime(b, python, bb.records)/ns, "x-python")
			}
		})
	}
}

// cpuTime is the time that this process has had from the processor: other
// processes do not count.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pythonTime returns the nanoseconds of the processor that Python takes for one merge.
func pythonTime(b *testing.B, python string, records [3][]byte) float64 {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), python, "testdata/speed.py", "3000")
	cmd.Stdin, cmd.Stderr = strings.NewReader(fmt.Sprintf("%x\n%x\n%x\n", records[0], records[1], records[2])), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	ns, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		b.Fatal(err)
	}
	return ns
}
