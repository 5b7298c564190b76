package fake

import (
	"crypto/md5"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// Options are the settings of a Bucket. The zero value is good.
type Options struct {
	Now func() time.Time // gives objects their time; nil: time.Now

	// OnChange is told of every change when it comes to be: what lands late, when it
	// lands. body is nil for a delete. It must not use the bucket.
	OnChange func(key string, body []byte)
}

// Bucket holds the objects.
type Bucket struct {
	opts Options

	mu      sync.Mutex
	objects map[string]object
	n       int64     // operations that began
	late    []pending // in the order in which they were sent
	recent  []change  // the newest last, at most maxRecent: for stale lists
}

const maxRecent = 1000

type object struct {
	body []byte // never changed
	info objstore.Info
}

// pending is an operation on its way.
type pending struct {
	due  int64           // it lands before the operation of this number
	hold <-chan struct{} // or, if not nil, once this is closed
	do   func()          // called under the lock
}

func (p pending) ready(n int64) bool {
	if p.hold == nil {
		return n >= p.due
	}
	select {
	case <-p.hold:
		return true
	default:
		return false
	}
}

// change is what a key was before an operation changed it.
type change struct {
	key    string
	before object
	was    bool // there was an object
}

// NewBucket returns an empty bucket.
func NewBucket(opts Options) *Bucket {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.OnChange == nil {
		opts.OnChange = func(string, []byte) {}
	}
	return &Bucket{opts: opts, objects: make(map[string]object)}
}

// New returns a client of a new bucket.
func New() *Store { return NewBucket(Options{}).Open("fake") }

// Open returns a new client. The name is for errors.
func (b *Bucket) Open(name string) *Store {
	return &Store{bucket: b, name: "fake://" + name, rule: func(Op) Fault { return Fault{} }}
}

// Keys returns all keys, sorted.
func (b *Bucket) Keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.objects))
}

// Has reports whether there is an object.
func (b *Bucket) Has(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.objects[key]
	return ok
}

// Objects returns all objects. The bytes must not be changed.
func (b *Bucket) Objects() map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[string][]byte, len(b.objects))
	for key, o := range b.objects {
		all[key] = o.body
	}
	return all
}

// Pending is the number of operations on their way.
func (b *Bucket) Pending() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.late)
}

// Land lets everything arrive that is on its way.
func (b *Bucket) Land() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.late {
		p.do()
	}
	b.late = nil
}

// begin counts an operation, and lets arrive what is due before it.
func (b *Bucket) begin() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	var rest []pending
	for _, p := range b.late {
		if p.ready(b.n) {
			p.do()
		} else {
			rest = append(rest, p)
		}
	}
	b.late = rest
	return b.n
}

// put writes an object if cond holds. Under the lock.
func (b *Bucket) put(key string, body []byte, cond objstore.Cond) (string, error) {
	old, was := b.objects[key]
	etag, match := cond.ETag()
	if cond == objstore.IfAbsent && was || match && (!was || old.info.ETag != etag) {
		return "", objstore.ErrExists
	}
	sum := md5.Sum(body)
	info := objstore.Info{
		Key: key, Size: int64(len(body)), ETag: `"` + hex.EncodeToString(sum[:]) + `"`, Modified: b.opts.Now(),
	}
	b.changed(change{key, old, was})
	b.objects[key] = object{body, info}
	b.opts.OnChange(key, body)
	return info.ETag, nil
}

// delete removes an object. Under the lock.
func (b *Bucket) delete(key string) {
	old, was := b.objects[key]
	if !was {
		return
	}
	b.changed(change{key, old, was})
	delete(b.objects, key)
	b.opts.OnChange(key, nil)
}

func (b *Bucket) changed(c change) {
	if len(b.recent) == maxRecent {
		b.recent = slices.Delete(b.recent, 0, maxRecent/2)
	}
	b.recent = append(b.recent, c)
}

// list returns what a list shows that has not heard of the last stale changes. Under the lock.
func (b *Bucket) list(prefix, after string, stale int) []objstore.Info {
	objects := b.objects
	if stale > 0 {
		objects = maps.Clone(objects)
		for _, c := range slices.Backward(b.recent[max(len(b.recent)-stale, 0):]) {
			if c.was {
				objects[c.key] = c.before
			} else {
				delete(objects, c.key)
			}
		}
	}
	var list []objstore.Info
	for key, o := range objects {
		if strings.HasPrefix(key, prefix) && key > after {
			list = append(list, o.info)
		}
	}
	slices.SortFunc(list, func(a, b objstore.Info) int { return strings.Compare(a.Key, b.Key) })
	return list
}
