package bench_test

import (
	"encoding/binary"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// fake is a server that knows the calls that the generator makes. It takes no
// lock between vote and finish, so that a conflict is one with what was finished
// before the vote.
type fake struct {
	address string
	asDicts bool // conflicts are left to the client
	reverse bool // answers that are ready together go out last first
	broken  bool // every vote fails

	mu      sync.Mutex
	serials map[zodb.OID]zodb.TID
	sizes   map[zodb.OID]int
	last    zodb.TID
	nextOID zodb.OID
	conns   map[*fakeConn]bool
	befores map[zodb.TID]bool // the tids that loads asked for
}

// startFake serves until the test ends.
func startFake(t *testing.T, f *fake, networks ...string) *fake {
	t.Helper()
	f.serials, f.sizes, f.conns = map[zodb.OID]zodb.TID{}, map[zodb.OID]int{}, map[*fakeConn]bool{}
	f.befores, f.nextOID, f.last = map[zodb.TID]bool{}, 1, 100
	network, address := "tcp", "127.0.0.1:0"
	if len(networks) > 0 {
		network, address = networks[0], filepath.Join(t.TempDir(), "socket")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	f.address = l.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.mu.Lock()
		for c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
		wg.Wait()
	})
	return f
}

// put makes objects from first on.
func (f *fake) put(first zodb.OID, n int) {
	for i := range n {
		f.serials[first+zodb.OID(i)], f.sizes[first+zodb.OID(i)] = f.last, 100
	}
	f.nextOID = max(f.nextOID, first+zodb.OID(n))
}

type fakeConn struct {
	net.Conn
	f      *fake
	codec  wire.Codec
	in     *wire.Reader
	out    [][]byte // frames, guarded by fake.mu
	stored map[zodb.OID]zodb.TID
	sizes  map[zodb.OID]int
}

func (f *fake) serve(nc net.Conn) {
	defer nc.Close()
	c := &fakeConn{Conn: nc, f: f, in: wire.NewReader(nc, 0), codec: wire.Pickle}
	nc.Write(wire.AppendFrame(nil, wire.Pickle.Hello()))
	hello, err := c.in.Next()
	if err != nil {
		return
	}
	if c.codec, err = wire.ParseHello(hello); err != nil {
		return
	}
	f.mu.Lock()
	f.conns[c] = true
	f.mu.Unlock()
	for {
		frame, err := c.in.Next()
		if err != nil {
			break
		}
		m, err := c.codec.Decode(frame)
		if err != nil || c.handle(m) != nil {
			break
		}
	}
	f.mu.Lock()
	delete(f.conns, c)
	f.mu.Unlock()
}

var errUnknown = errors.New("unknown method")

func (c *fakeConn) handle(m *wire.Message) error {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	var frame []byte
	switch m.Method {
	case "register":
		frame = c.codec.AppendTID(nil, m.ID, c.f.last)
	case "new_oids":
		frame = c.newOIDs(m)
	case "loadBefore":
		frame = c.load(m)
	case "tpc_begin":
		c.stored, c.sizes = map[zodb.OID]zodb.TID{}, map[zodb.OID]int{}
	case "storea":
		oid, _ := m.OID(0)
		data, _ := m.Bytes(2)
		c.stored[oid], _ = m.TID(1)
		c.sizes[oid] = len(data)
	case "vote":
		frame = c.vote(m)
	case "tpc_finish":
		frame = c.finish(m)
	case "tpc_abort":
		frame = c.codec.AppendNone(nil, m.ID)
	default:
		return errUnknown
	}
	if frame != nil {
		c.out = append(c.out, frame)
	}
	return c.flush()
}

// flush sends when no more calls are here.
func (c *fakeConn) flush() error {
	if c.in.Buffered() {
		return nil
	}
	if c.f.reverse {
		slices.Reverse(c.out)
	}
	_, err := c.Write(slices.Concat(c.out...))
	c.out = nil
	return err
}

func (c *fakeConn) newOIDs(m *wire.Message) []byte {
	n, _ := m.Int(0)
	var oids []zodb.OID
	for range n {
		oids = append(oids, c.f.nextOID)
		c.f.nextOID++
	}
	return c.codec.AppendOIDs(nil, m.ID, oids)
}

func (c *fakeConn) load(m *wire.Message) []byte {
	oid, _ := m.OID(0)
	before, _ := m.TID(1)
	c.f.befores[before] = true
	serial, ok := c.f.serials[oid]
	switch {
	case !ok:
		return c.codec.AppendError(nil, m.ID, &zodb.NoObjectError{OID: oid})
	case serial >= before:
		return c.codec.AppendNone(nil, m.ID)
	}
	return c.codec.AppendLoad(nil, m.ID, zodb.Record{Data: make([]byte, c.f.sizes[oid]), Serial: serial})
}

func (c *fakeConn) vote(m *wire.Message) []byte {
	if c.f.broken {
		return c.codec.AppendError(nil, m.ID, errors.New("the disk is on fire"))
	}
	for oid, serial := range c.stored {
		if c.f.serials[oid] == serial {
			continue
		}
		if !c.f.asDicts {
			return c.codec.AppendError(nil, m.ID, &zodb.ConflictError{OID: oid, Committed: c.f.serials[oid], Read: serial})
		}
		name := binary.BigEndian.AppendUint64(nil, uint64(oid))
		frame, err := c.codec.AppendReply(nil, m.ID, pickle.NewList(pickle.NewDict("oid", name)))
		if err != nil {
			panic(err)
		}
		return frame
	}
	return c.codec.AppendOIDs(nil, m.ID, nil)
}

func (c *fakeConn) finish(m *wire.Message) []byte {
	c.f.last++
	var oids []zodb.OID
	for oid := range c.stored {
		c.f.serials[oid], c.f.sizes[oid] = c.f.last, c.sizes[oid]
		oids = append(oids, oid)
	}
	for other := range c.f.conns {
		if other != c {
			other.Write(other.codec.AppendInvalidation(nil, c.f.last, oids))
		}
	}
	return c.codec.AppendTID(nil, m.ID, c.f.last)
}
