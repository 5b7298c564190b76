package filestorage

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// What was promised can be written, though others write, and promises are kept and given
// back meanwhile, on a disk that is always nearly full.
func TestPromisesAreKept(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	data := strings.Repeat("x", 900)
	var mu sync.Mutex // one append at a time, in the order of the tids
	tid, refused := zodb.TID(0), 0
	m.SetCapacity(m.Used())
	var wg sync.WaitGroup
	for i := range zodb.OID(8) {
		wg.Go(func() {
			for range 5000 {
				x := txn(0, put(i, data))
				release, err := s.Reserve(s.Space(x))
				mu.Lock()
				if err == nil {
					tid++
					x.TID = tid
					_, err = s.Append(t.Context(), []*txnlog.Txn{x}, nil)
					if err != nil {
						t.Errorf("what was promised cannot be written: %v", err)
					}
					release()
				} else if errors.Is(err, zodb.ErrNoSpace) {
					refused++
					m.SetCapacity(m.Used() + 3000)
				} else {
					t.Error(err)
				}
				mu.Unlock()
				if t.Failed() {
					return
				}
			}
		})
	}
	wg.Wait()
	if refused < 100 {
		t.Errorf("the disk was full %d times", refused)
	}
}
