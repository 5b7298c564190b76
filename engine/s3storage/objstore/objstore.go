package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// Store is a place for objects. All methods may be called by many goroutines at once.
// Every key is checked with CheckKey. Errors are *Error, around one of this package's
// where it applies.
type Store interface {
	// Put writes an object, whole or not at all, if cond holds, and returns its etag.
	// It sends one request, once. ErrExists: the condition does not hold.
	// ErrConflict: undecided, put the same again. Any other error says nothing about
	// the outcome, neither now nor later. body is not retained, but must not change
	// until Put has returned, and also not after if it returned an error.
	Put(ctx context.Context, key string, body []byte, cond Cond) (etag string, err error)

	// PutFile writes a large object from a file, in parts where the store wants that;
	// whole or not at all. What was there is replaced. It may be sent again after a
	// failure, so the key should be one that nobody else writes. The file must not
	// change meanwhile.
	PutFile(ctx context.Context, key, path string) error

	// Get opens an object, or a part of it. Errors: ErrNotExist; ErrRange if the
	// range begins at or behind the end.
	Get(ctx context.Context, key string, r Range) (Object, error)

	// Head tells what Get would tell without the bytes. Error: ErrNotExist.
	Head(ctx context.Context, key string) (Info, error)

	// Delete removes an object. It is no error if there is none.
	Delete(ctx context.Context, key string) error

	// List yields the objects whose keys begin with prefix and are greater than
	// after, by key where the store has an order. A prefix that is not empty ends with
	// a slash, or it may find nothing on some stores. It ends after the first error.
	// Never used to decide what is committed.
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]

	io.Closer
}

// Cond is the condition of a Put: Always, IfAbsent, or IfMatch of an etag.
type Cond string

const (
	Always   Cond = ""  // write, whatever is there
	IfAbsent Cond = "*" // write only if no object has the key
)

// IfMatch is the condition that the object there has this etag. The empty etag
// is that of no object.
func IfMatch(etag string) Cond {
	if strings.Trim(etag, `" `) == "" || etag == string(IfAbsent) {
		return `"00000000000000000000000000000000"` // a store may take an empty one for no condition
	}
	return Cond(etag)
}

// ETag returns the etag of an IfMatch, and whether c is one.
func (c Cond) ETag() (etag string, ok bool) {
	return string(c), c != Always && c != IfAbsent
}

// Range is a part of an object, in bytes. The zero Range is all of it.
type Range struct {
	Off int64 // from the start; if negative, the last -Off bytes (or all, if there are fewer)
	Len int64 // at most so many; 0 or with a negative Off: up to the end
}

// Suffix is the range of the last n bytes.
func Suffix(n int64) Range { return Range{Off: -n} }

// In returns where the range lies in an object of the given size.
// ErrRange if it begins at or behind the end; the zero Range is never an error.
func (r Range) In(size int64) (off, length int64, err error) {
	if r == (Range{}) {
		return 0, size, nil
	}
	off = r.Off
	if off < 0 {
		off = max(size+off, 0)
	}
	if off >= size || r.Len < 0 {
		return 0, 0, fmt.Errorf("%w: %+v of %d bytes", ErrRange, r, size)
	}
	length = size - off
	if r.Off >= 0 && r.Len > 0 {
		length = min(length, r.Len)
	}
	return off, length, nil
}

// Info is what a store knows of an object.
type Info struct {
	Key      string
	Size     int64     // of the whole object, in bytes
	ETag     string    // opaque; empty where a list does not tell
	Modified time.Time // by the store's clock, to the second at least
}

// Object is an open object, or a part of one.
type Object struct {
	Info
	Off  int64         // where Body begins in the object
	Len  int64         // how many bytes Body has
	Body io.ReadCloser // to be closed; an early end is io.ErrUnexpectedEOF
}

// Errors of every Store. They are wrapped in an *Error.
var (
	ErrExists   = errors.New("the condition does not hold")
	ErrConflict = errors.New("another request was writing this object")
	ErrNotExist = errors.New("no such object")
	ErrRange    = errors.New("the range is not in the object")
	ErrKey      = errors.New("not a key")
	ErrClosed   = errors.New("the object store is closed")
)

// Error is what a Store's method returns: which operation on what failed.
type Error struct {
	Op    string // Put, PutFile, Get, Head, Delete, List
	Store string // its URL, without secrets
	Key   string // or the prefix of a list
	Err   error
	Hint  string // what to do about it; may be empty
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s %s/%s: %v", e.Op, e.Store, e.Key, e.Err)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

const maxKey = 800 // bytes; S3 has 1024, and a prefix stands before

// CheckKey reports whether key can be used on every store: parts of ASCII letters, digits
// and -_.=+ between single slashes, none beginning with a dot or longer than 200 bytes.
// (No key may be another one's folder, either: "a" and "a/b". That cannot be seen here.)
func CheckKey(key string) error {
	if len(key) > maxKey {
		return fmt.Errorf("%w: %d bytes, at most %d are possible", ErrKey, len(key), maxKey)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part[0] == '.' || len(part) > 200 || strings.ContainsFunc(part, notInKey) {
			return fmt.Errorf("%w: %q", ErrKey, key)
		}
	}
	return nil
}

func notInKey(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.=+", r))
}

// CheckPrefix reports whether prefix can be the beginning of a key. It may be empty.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return CheckKey(strings.TrimSuffix(prefix, "/"))
}

// Read gets an object, or a part of it, into memory. A body that breaks off
// is asked for once more.
func Read(ctx context.Context, s Store, key string, r Range) ([]byte, Info, error) {
	for again := true; ; again = false {
		o, err := s.Get(ctx, key, r)
		if err != nil {
			return nil, Info{}, err
		}
		data, err := readBody(o)
		if err == nil {
			return data, o.Info, nil
		}
		if !again || ctx.Err() != nil {
			return nil, Info{}, err
		}
	}
}

// readBody reads all of an object's body and closes it.
func readBody(o Object) ([]byte, error) {
	defer o.Body.Close()
	data := make([]byte, o.Len)
	n := 0
	var err error
	for n < len(data) && err == nil { // not io.ReadFull: what comes with the last byte counts
		var k int
		k, err = o.Body.Read(data[n:])
		n += k
	}
	if errors.Is(err, io.EOF) {
		err = nil
		if n < len(data) {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the body of %s, %d bytes at %d: %w", o.Key, o.Len, o.Off, err)
	}
	return data, nil
}
