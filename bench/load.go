package bench

import (
	"errors"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

var _ worker = (*loader)(nil)

// A loader keeps loads in flight.
type loader struct {
	base
	loads loads
	next  func() int // the next object, counted from Options.FirstOID
}

func newLoader(b base) worker { return &loader{base: b, next: picker(&b)} }

func (l *loader) prepare() (err error) {
	l.loads, err = newLoads(l.c.codec, l.o.InFlight)
	return err
}

func (l *loader) run() error {
	for !l.stopped() {
		for !l.loads.full() {
			l.loads.ask(l.c, l.o.FirstOID+zodb.OID(l.next()))
		}
		if err := l.c.next(); err != nil {
			return err
		}
		if !l.c.msg.Async {
			l.loads.answer(&l.tally, &l.c.msg)
		}
	}
	return nil
}

// loads are the loads that a connection has in flight.
type loads struct {
	request template
	flying  []flight
	most    int
}

type flight struct {
	oid   zodb.OID
	began time.Time
}

var errStrangeReply = errors.New("bench: a reply to nothing that was asked")

func newLoads(c wire.Codec, inFlight int) (loads, error) {
	request, err := newTemplate(c)
	return loads{request: request, most: inFlight}, err
}

func (l *loads) full() bool { return len(l.flying) >= l.most }

// ask puts a load of what is current in the connection's view into its buffer.
func (l *loads) ask(c *conn, oid zodb.OID) {
	c.out = l.request.append(c.out, oid, c.view+1)
	l.flying = append(l.flying, flight{oid, time.Now()})
}

// answer counts a reply to a load.
func (l *loads) answer(t *tally, m *wire.Message) {
	oid, ok := l.request.oidOf(m.ID)
	began, asked := l.land(oid)
	if !ok || !asked {
		t.fail(errStrangeReply)
		return
	}
	switch _, found, err := m.ParseLoad(); {
	case err != nil:
		t.refused(err)
	case !found:
		t.absent()
	default:
		t.ok(opLoad, began)
	}
}

// land takes a load of oid out of those in flight.
func (l *loads) land(oid zodb.OID) (began time.Time, ok bool) {
	for i, f := range l.flying {
		if f.oid == oid {
			last := len(l.flying) - 1
			l.flying[i] = l.flying[last]
			l.flying = l.flying[:last]
			return f.began, true
		}
	}
	return time.Time{}, false
}
