package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// put puts body under key, and reports an error.
func put(t *testing.T, s *Store, key, body string, cond objstore.Cond) error {
	t.Helper()
	_, err := s.Put(t.Context(), key, []byte(body), cond)
	return err
}

func content(s *Store, key string) string { return string(s.Bucket().Objects()[key]) }

func keys(t *testing.T, s *Store, prefix string) ([]string, error) {
	t.Helper()
	var list []string
	for info, err := range s.List(t.Context(), prefix, "") {
		if err != nil {
			return list, err
		}
		list = append(list, info.Key)
	}
	return list, nil
}

func TestLostReply(t *testing.T) {
	s := New()
	s.SetRule(Nth(1, Fault{Lost: true}))
	if err := put(t, s, "log/1", "a", objstore.IfAbsent); !errors.Is(err, ErrLost) {
		t.Fatalf("lost reply: %v", err)
	}
	if content(s, "log/1") != "a" {
		t.Fatal("the object of a lost reply is not there")
	}
	if err := put(t, s, "log/1", "b", objstore.IfAbsent); !errors.Is(err, objstore.ErrExists) {
		t.Fatalf("second: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for _, want := range []error{ErrSlow, objstore.ErrConflict} {
		s := New()
		s.SetRule(Nth(1, Fault{Err: want}))
		if err := put(t, s, "a", "a", objstore.IfAbsent); !errors.Is(err, want) {
			t.Fatalf("%v: %v", want, err)
		}
		if len(s.Bucket().Keys()) != 0 {
			t.Fatalf("%v: written all the same", want)
		}
	}
}

func TestLatePutLandsAfterAnotherOperation(t *testing.T) {
	s := New()
	s.SetRule(Nth(1, Fault{Late: 2, Err: context.DeadlineExceeded}))
	if err := put(t, s, "a", "late", objstore.IfAbsent); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("late: %v", err)
	}
	if _, err := s.Head(t.Context(), "a"); !errors.Is(err, objstore.ErrNotExist) {
		t.Fatalf("the operation after it: %v", err)
	}
	if err := put(t, s, "a", "second", objstore.IfAbsent); !errors.Is(err, objstore.ErrExists) {
		t.Fatalf("after it landed: %v", err)
	}
	if content(s, "a") != "late" || s.Bucket().Pending() != 0 {
		t.Fatalf("content %q, %d pending", content(s, "a"), s.Bucket().Pending())
	}
}

func TestLatePutHeedsItsConditionWhenItLands(t *testing.T) {
	s := New()
	s.SetRule(Nth(1, Fault{Late: 100}))
	_ = put(t, s, "a", "late", objstore.IfAbsent)
	if err := put(t, s, "a", "second", objstore.IfAbsent); err != nil {
		t.Fatal(err)
	}
	s.Bucket().Land()
	if content(s, "a") != "second" {
		t.Fatalf("content %q", content(s, "a"))
	}
}

func TestHeldPutLandsAfterItsContextEnded(t *testing.T) {
	s := New()
	hold := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	held := Nth(1, Fault{Hold: hold})
	s.SetRule(func(op Op) Fault {
		cancel() // while it is on its way
		return held(op)
	})
	done := make(chan error)
	go func() {
		_, err := s.Put(ctx, "a", []byte("held"), objstore.IfAbsent)
		done <- err
	}()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := s.Head(t.Context(), "a"); err == nil {
		t.Fatal("it landed while it was held")
	}
	close(hold)
	if _, err := s.Head(t.Context(), "a"); err != nil {
		t.Fatalf("it did not land: %v", err)
	}
}

func TestTwiceFindsItself(t *testing.T) {
	s := New()
	s.SetRule(Nth(1, Fault{Twice: true}))
	if err := put(t, s, "a", "x", objstore.IfAbsent); !errors.Is(err, objstore.ErrExists) || content(s, "a") != "x" {
		t.Fatalf("%v, content %q", err, content(s, "a"))
	}
}

func TestStoreThatIgnoresConditions(t *testing.T) {
	s := New()
	s.SetRule(Always(Fault{IgnoreCond: true}))
	_ = put(t, s, "a", "x", objstore.IfAbsent)
	if err := put(t, s, "a", "y", objstore.IfAbsent); err != nil || content(s, "a") != "y" {
		t.Fatalf("%v, content %q", err, content(s, "a"))
	}
}

func TestDeleteThatLags(t *testing.T) {
	s := New()
	_ = put(t, s, "a", "x", objstore.Always)
	s.SetRule(Only(Delete, "", Always(Fault{Late: 2})))
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Head(t.Context(), "a"); err != nil {
		t.Fatalf("at once: %v", err)
	}
	if _, err := s.Head(t.Context(), "a"); !errors.Is(err, objstore.ErrNotExist) {
		t.Fatalf("later: %v", err)
	}
}

func TestLists(t *testing.T) {
	s := New()
	for i := range 50 {
		_ = put(t, s, fmt.Sprintf("k/%02d", i), "x", objstore.Always)
	}
	_ = s.Delete(t.Context(), "k/00")

	s.SetRule(Always(Fault{Stale: 2})) // the last put and the delete
	stale, err := keys(t, s, "k/")
	if err != nil || len(stale) != 49 || stale[0] != "k/00" || slices.Contains(stale, "k/49") {
		t.Errorf("stale: %v %v", stale, err)
	}
	s.SetRule(Always(Fault{Cut: 8}))
	if part, err := keys(t, s, "k/"); len(part) != 7 || !errors.Is(err, ErrLost) {
		t.Errorf("cut: %v %v", part, err)
	}
	s.SetRule(Always(Fault{Lack: 0.5, LackSeed: 1}))
	part, err := keys(t, s, "k/")
	if err != nil || len(part) < 10 || len(part) > 40 {
		t.Errorf("lack: %v %v", part, err)
	}
	if again, _ := keys(t, s, "k/"); !slices.Equal(part, again) {
		t.Errorf("lack: %v, then %v", part, again)
	}
}

func TestBodyThatBreaksOff(t *testing.T) {
	s := New()
	_ = put(t, s, "a", "0123456789", objstore.Always)
	s.SetRule(Nth(1, Fault{Cut: 5}))
	o, err := s.Get(t.Context(), "a", objstore.Range{})
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(o.Body); string(data) != "0123" || !errors.Is(err, ErrLost) {
		t.Fatalf("%q %v", data, err)
	}
	s.SetRule(Nth(1, Fault{Cut: 5}))
	if data, _, err := objstore.Read(t.Context(), s, "a", objstore.Range{}); err != nil || string(data) != "0123456789" {
		t.Fatalf("Read: %q %v", data, err)
	}
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.SetRule(Always(Fault{Delay: time.Second}))
		begin := time.Now()
		if err := put(t, s, "a", "x", objstore.Always); err != nil || time.Since(begin) != time.Second {
			t.Fatalf("%v after %v", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := s.Put(ctx, "b", nil, objstore.Always)
		if !errors.Is(err, context.DeadlineExceeded) || len(s.Bucket().Keys()) != 1 {
			t.Fatal(err)
		}
	})
}

// TestRandomIsAFunctionOfItsSeed plays one sequence of operations twice.
func TestRandomIsAFunctionOfItsSeed(t *testing.T) {
	rates := Rates{Slow: .1, Lost: .1, Late: .1, Twice: .1, Conflict: .1, Cut: .1, Stale: .1, Lack: .1}
	play := func(seed uint64) (history []string) {
		b := NewBucket(Options{
			Now:      func() time.Time { return time.Unix(0, 0) },
			OnChange: func(key string, body []byte) { history = append(history, key+" is "+string(body)) },
		})
		s := b.Open("x")
		s.SetRule(Random(seed, rates))
		for i := range 300 {
			key := fmt.Sprintf("k/%d", i%17)
			err := put(t, s, key, fmt.Sprint(i), objstore.IfAbsent)
			list, listErr := keys(t, s, "k/")
			data, _, getErr := objstore.Read(t.Context(), s, key, objstore.Range{})
			if i%5 == 0 {
				_ = s.Delete(t.Context(), key)
			}
			history = append(history, fmt.Sprint(err, list, listErr, string(data), getErr))
		}
		b.Land()
		return history
	}
	one, two, other := play(1), play(1), play(2)
	if !slices.Equal(one, two) {
		t.Error("one seed, two histories")
	}
	if slices.Equal(one, other) {
		t.Error("two seeds, one history")
	}
}

func TestCounts(t *testing.T) {
	b := NewBucket(Options{})
	s, other := b.Open("s"), b.Open("other")
	for i := range 1001 {
		_ = put(t, s, fmt.Sprintf("k/%04d", i), "xyz", objstore.IfAbsent)
	}
	_ = put(t, s, "k/0000", "abc", objstore.IfAbsent)
	_, _ = keys(t, s, "k/")
	_, _ = keys(t, s, "none/")
	_, _, _ = objstore.Read(t.Context(), s, "k/0000", objstore.Suffix(2))
	_, _ = s.Head(t.Context(), "none")
	_ = s.Delete(t.Context(), "k/0000")
	want := objstore.Counts{Put: 1002, Get: 1, Head: 1, List: 3, Delete: 1, Errors: 2, BytesIn: 3006, BytesOut: 2}
	if got := s.Counts(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := other.Counts(); got != (objstore.Counts{}) {
		t.Errorf("another client: %+v", got)
	}
}
