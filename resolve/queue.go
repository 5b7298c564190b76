package resolve

import (
	"strings"

	"github.com/zaridb/zari/zodb/pickle"
)

func mergeQueue(base, committed, wanted any) (any, error) {
	return mergeQueues(base, committed, wanted, false)
}

func mergeBucketQueue(base, committed, wanted any) (any, error) {
	return mergeQueues(base, committed, wanted, true)
}

// mergeQueues is resolveQueueConflict in zc/queue/_queue.py: a queue is merged as
// a set of items would be, unless both sides have put or pulled the same one, and
// what wanted has put goes to the end of committed. A part of a composite queue
// that only one side has emptied may be dropped by its parent, so it is refused.
func mergeQueues(base, committed, wanted any, part bool) (any, error) {
	old, theirs, ours, err := dicts(base, committed, wanted)
	if err != nil {
		return nil, err
	}
	if err := sameButData(theirs, ours); err != nil {
		return nil, err
	}
	var queues [3]queue
	for i, d := range []*pickle.Dict{old, theirs, ours} {
		if queues[i], err = queueOf(d); err != nil {
			return nil, err
		}
	}
	if mixed(queues[:]) {
		return nil, refuse(Uncertain)
	}
	items, err := mergeItems(queues[0], queues[1], queues[2], part)
	if err != nil {
		return nil, err
	}
	theirs.Set("_data", items)
	return theirs, nil
}

func sameButData(theirs, ours *pickle.Dict) error {
	a, err := lastOf(theirs)
	if err != nil {
		return err
	}
	b, err := lastOf(ours)
	if err != nil {
		return err
	}
	if len(a) != len(b) {
		return refuse(Rule)
	}
	c := &comparer{}
	for key, value := range b {
		other, ok := a[key]
		if !ok {
			return refuse(Rule)
		}
		if key == "s_data" {
			continue
		}
		if same, err := c.equal(value, other); err != nil || !same {
			return orRule(err)
		}
	}
	return nil
}

// queue is the items of a queue, and a key for each that tells which are the same.
type queue struct {
	items pickle.Tuple
	keys  []string
	set   map[string]bool
}

func queueOf(d *pickle.Dict) (queue, error) {
	v, _ := d.Get("_data")
	items, ok := v.(pickle.Tuple)
	if !ok {
		return queue{}, refuse(BadRecord)
	}
	q := queue{items: items, set: make(map[string]bool, len(items))}
	for _, item := range items {
		key, err := itemKey(item)
		if err != nil {
			return queue{}, err
		}
		q.keys = append(q.keys, key)
		q.set[key] = true
	}
	return q, nil
}

// itemKey is hashKey for what can also be a reference: then equal references are
// one key, and weak ones only if they are spelled alike.
func itemKey(v any) (string, error) {
	r, ok := v.(*pickle.Ref)
	if !ok {
		return hashKey(v, 0)
	}
	t, err := r.Target()
	if err != nil {
		return "", refuse(BadRecord)
	}
	if t.Strength != pickle.Strong {
		return "", refuse(Uncertain)
	}
	return "R" + t.OID.String() + t.Database, nil
}

// mixed reports whether there are references and numbers: the proxies by which
// zc.queue makes references hashable cannot be compared with numbers, which
// happens if their hash is the same.
func mixed(queues []queue) bool {
	refs, numbers := false, false
	for _, q := range queues {
		for key := range q.set {
			refs = refs || key[0] == 'R'
			numbers = numbers || strings.IndexByte("if", key[0]) >= 0
		}
	}
	return refs && numbers
}

func mergeItems(old, theirs, ours queue, part bool) (pickle.Tuple, error) {
	if part && len(old.set) > 0 && (len(theirs.set) > 0) != (len(ours.set) > 0) {
		return nil, refuse(EmptyBucket)
	}
	for key := range old.set {
		if !theirs.set[key] && !ours.set[key] {
			return nil, refuse(BothDeleted)
		}
	}
	added := make(map[string]bool)
	for key := range ours.set {
		if old.set[key] {
			continue
		}
		if theirs.set[key] {
			return nil, refuse(BothInserted)
		}
		added[key] = true
	}
	var merged pickle.Tuple
	for i, item := range theirs.items {
		if key := theirs.keys[i]; !old.set[key] || ours.set[key] {
			merged = append(merged, item)
		}
	}
	tail := len(ours.items) - len(added)
	last := make(map[string]bool)
	for _, key := range ours.keys[tail:] {
		if !added[key] {
			return nil, refuse(Rule)
		}
		last[key] = true
	}
	if len(last) != len(added) {
		return nil, refuse(Rule)
	}
	return append(merged, ours.items[tail:]...), nil
}
