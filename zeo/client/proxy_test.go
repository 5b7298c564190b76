package client_test

import (
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// proxy stands between clients and a server, and does to their connections what
// networks do.
type proxy struct {
	addr, to string
	l        net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	moved  sync.Cond
	conns  map[net.Conn]bool
	held   bool // nothing passes
	refuse bool // new connections are closed at once
	drop   bool // what comes from the server is thrown away
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	p := &proxy{addr: filepath.Join(t.TempDir(), "proxy"), to: to, conns: make(map[net.Conn]bool)}
	p.moved.L = &p.mu
	var err error
	if p.l, err = net.Listen("unix", p.addr); err != nil {
		t.Fatal(err)
	}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.l.Close()
		p.set(func() { p.held = false })
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("unix", p.to)
		p.mu.Lock()
		refuse := p.refuse || err != nil
		if !refuse {
			p.conns[c], p.conns[s] = true, true
		}
		p.mu.Unlock()
		if refuse {
			c.Close()
			if err == nil {
				s.Close()
			}
			continue
		}
		p.wg.Go(func() { p.pass(c, s, false) })
		p.wg.Go(func() { p.pass(s, c, true) })
	}
}

// pass carries bytes one way.
func (p *proxy) pass(from, to net.Conn, answers bool) {
	defer p.close(from, to)
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		for p.held {
			p.moved.Wait()
		}
		drop := p.drop && answers
		p.mu.Unlock()
		if n > 0 && !drop {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err == io.EOF || err != nil {
			return
		}
	}
}

func (p *proxy) close(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(p.conns, c)
	}
}

// set changes the proxy's ways.
func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.moved.Broadcast()
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// hold keeps everything back for a while.
func (p *proxy) hold(d time.Duration) {
	p.set(func() { p.held = true })
	time.Sleep(d)
	p.set(func() { p.held = false })
}

// deafen throws away what the server says for a while, and then closes all
// connections: answers are lost.
func (p *proxy) deafen(d time.Duration) {
	p.set(func() { p.drop = true })
	time.Sleep(d)
	p.cut()
	p.set(func() { p.drop = false })
}
