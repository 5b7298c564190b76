package bench

import (
	"time"

	"github.com/zaridb/zari/zodb"
)

var _ worker = (*rawLoader)(nil)

// A rawLoader sends what a loader sends to a server that knows nothing of ZEO
// and answers each frame with a frame, in order.
type rawLoader struct {
	base
	loads loads
	next  func() int
	head  int // of the flights: the oldest
}

func newRawLoader(b base) worker { return &rawLoader{base: b, next: picker(&b)} }

func (l *rawLoader) prepare() (err error) {
	l.loads, err = newLoads(l.c.codec, l.o.InFlight)
	return err
}

func (l *rawLoader) run() error {
	for !l.stopped() {
		for !l.loads.full() {
			l.loads.ask(l.c, l.o.FirstOID+zodb.OID(l.next()))
		}
		if !l.c.in.Buffered() {
			if err := l.c.flush(); err != nil {
				return err
			}
		}
		if _, err := l.c.in.Next(); err != nil {
			return err
		}
		began := l.loads.flying[l.head].began
		l.ok(opLoad, began)
		l.askAgain()
	}
	return nil
}

// askAgain puts a load in the place of the oldest.
func (l *rawLoader) askAgain() {
	oid := l.o.FirstOID + zodb.OID(l.next())
	l.c.out = l.loads.request.append(l.c.out, oid, l.c.view+1)
	l.loads.flying[l.head] = flight{oid, time.Now()}
	l.head = (l.head + 1) % l.o.InFlight
}
