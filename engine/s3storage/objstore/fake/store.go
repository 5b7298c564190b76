package fake

import (
	"bytes"
	"context"
	"errors"
	"hash/fnv"
	"io"
	"iter"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// Store is a client of a Bucket.
type Store struct {
	bucket *Bucket
	name   string
	closed atomic.Bool
	meter  objstore.Meter

	mu   sync.Mutex
	rule Rule
}

var (
	_ objstore.Store    = (*Store)(nil)
	_ objstore.Counting = (*Store)(nil)
)

// Bucket returns the bucket.
func (s *Store) Bucket() *Bucket { return s.bucket }

// String names the client.
func (s *Store) String() string { return s.name }

// SetRule says what goes wrong from now on. nil: nothing.
func (s *Store) SetRule(r Rule) {
	if r == nil {
		r = Always(Fault{})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rule = r
}

// Counts implements objstore.Counting.
func (s *Store) Counts() objstore.Counts { return s.meter.Counts() }

// Close ends this client; the bucket stays.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

// begin checks the key, asks the rule, and waits as it says. An error that is
// errHeld means that the operation lands once f.Hold is closed.
func (s *Store) begin(ctx context.Context, op Op, check error) (Fault, int64, error) {
	if s.closed.Load() {
		return Fault{}, 0, objstore.ErrClosed
	}
	if err := errors.Join(check, ctx.Err()); err != nil {
		return Fault{}, 0, err
	}
	s.mu.Lock()
	rule := s.rule
	s.mu.Unlock()
	op.N, op.Client = s.bucket.begin(), s.name
	f := rule(op)
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return f, op.N, ctx.Err()
		}
	}
	if f.Hold != nil {
		select {
		case <-f.Hold:
		case <-ctx.Done():
			return f, op.N, &heldError{ctx.Err()}
		}
	}
	return f, op.N, nil
}

// heldError is the context's error of an operation that was held.
type heldError struct{ err error }

func (e *heldError) Error() string { return e.err.Error() }
func (e *heldError) Unwrap() error { return e.err }

// fail counts and wraps an error.
func (s *Store) fail(op Kind, key string, err error) error {
	if err == nil {
		return nil
	}
	s.meter.Errors.Add(1)
	return &objstore.Error{Op: string(op), Store: s.name, Key: key, Err: err}
}

// Put implements objstore.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte, cond objstore.Cond) (string, error) {
	s.meter.Put.Add(1)
	s.meter.BytesIn.Add(int64(len(body)))
	body = bytes.Clone(body)
	f, n, err := s.begin(ctx, Op{Kind: Put, Key: key, Cond: cond, Body: body}, objstore.CheckKey(key))
	if f.IgnoreCond {
		cond = objstore.Always
	}
	etag, err := s.change(f, n, err, func() (string, error) { return s.bucket.put(key, body, cond) }, f.lostErr())
	return etag, s.fail(Put, key, err)
}

// PutFile implements objstore.Store.
func (s *Store) PutFile(ctx context.Context, key, path string) error {
	body, err := os.ReadFile(path)
	if err != nil {
		return s.fail(Put, key, err)
	}
	_, err = s.Put(ctx, key, body, objstore.Always)
	return err
}

// Delete implements objstore.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	s.meter.Delete.Add(1)
	f, n, err := s.begin(ctx, Op{Kind: Delete, Key: key}, objstore.CheckKey(key))
	do := func() (string, error) {
		s.bucket.delete(key)
		return "", nil
	}
	_, err = s.change(f, n, err, do, f.Err)
	return s.fail(Delete, key, err)
}

// change does what a Put or a Delete does, now, later, twice or not at all.
// late is what the caller is told of what lands later.
func (s *Store) change(f Fault, n int64, err error, do func() (string, error), late error) (string, error) {
	b := s.bucket
	b.mu.Lock()
	defer b.mu.Unlock()
	var held *heldError
	switch {
	case errors.As(err, &held):
		b.late = append(b.late, pending{hold: f.Hold, do: func() { _, _ = do() }})
		return "", held.err
	case err != nil:
		return "", err
	case f.Late > 0:
		b.late = append(b.late, pending{due: n + int64(f.Late), do: func() { _, _ = do() }})
		return "", late
	case f.Err != nil && !f.Lost:
		return "", f.Err
	}
	etag, err := do()
	if f.Twice {
		etag, err = do()
	}
	if f.Lost {
		return "", f.lostErr()
	}
	return etag, err
}

// look begins an operation that only reads, and finds the object.
func (s *Store) look(ctx context.Context, kind Kind, key string) (object, Fault, error) {
	f, _, err := s.begin(ctx, Op{Kind: kind, Key: key}, objstore.CheckKey(key))
	if err == nil && f.Lost {
		err = f.lostErr()
	}
	if err == nil && f.Cut == 0 {
		err = f.Err
	}
	if err != nil {
		return object{}, f, err
	}
	s.bucket.mu.Lock()
	defer s.bucket.mu.Unlock()
	o, ok := s.bucket.objects[key]
	if !ok {
		return object{}, f, objstore.ErrNotExist
	}
	return o, f, nil
}

// Get implements objstore.Store.
func (s *Store) Get(ctx context.Context, key string, r objstore.Range) (objstore.Object, error) {
	s.meter.Get.Add(1)
	o, f, err := s.look(ctx, Get, key)
	if err != nil {
		return objstore.Object{}, s.fail(Get, key, err)
	}
	off, length, err := r.In(o.info.Size)
	if err != nil {
		return objstore.Object{}, s.fail(Get, key, err)
	}
	s.meter.BytesOut.Add(length)
	var body io.Reader = bytes.NewReader(o.body[off : off+length])
	if f.Cut > 0 && int64(f.Cut) <= length {
		body = io.MultiReader(bytes.NewReader(o.body[off:off+int64(f.Cut)-1]), brokenReader{f.lostErr()})
	}
	return objstore.Object{Info: o.info, Off: off, Len: length, Body: io.NopCloser(body)}, nil
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// Head implements objstore.Store.
func (s *Store) Head(ctx context.Context, key string) (objstore.Info, error) {
	s.meter.Head.Add(1)
	o, _, err := s.look(ctx, Head, key)
	if err != nil {
		return objstore.Info{}, s.fail(Head, key, err)
	}
	return o.info, nil
}

// List implements objstore.Store.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		list, err := s.list(ctx, prefix, after)
		for i, info := range list {
			if i%1000 == 0 {
				s.meter.List.Add(1)
			}
			if !yield(info, nil) {
				return
			}
		}
		if len(list) == 0 {
			s.meter.List.Add(1)
		}
		if err != nil {
			yield(objstore.Info{}, s.fail(List, prefix, err))
		}
	}
}

// list returns what the list shows before it ends or breaks off.
func (s *Store) list(ctx context.Context, prefix, after string) ([]objstore.Info, error) {
	f, _, err := s.begin(ctx, Op{Kind: List, Key: prefix}, objstore.CheckPrefix(prefix))
	if err == nil && (f.Cut == 0 || f.Lost) {
		err = f.Err
	}
	if err != nil {
		return nil, err
	}
	s.bucket.mu.Lock()
	all := s.bucket.list(prefix, after, f.Stale)
	s.bucket.mu.Unlock()
	var list []objstore.Info
	for _, info := range all {
		if f.Cut > 0 && len(list) == f.Cut-1 {
			return list, f.lostErr()
		}
		if f.Lack == 0 || !lacks(f, info.Key) {
			list = append(list, info)
		}
	}
	return list, nil
}

func lacks(f Fault, key string) bool {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	x := (h.Sum64() ^ f.LackSeed) * 0x9e3779b97f4a7c15
	return float64(x>>11)/(1<<53) < f.Lack
}
