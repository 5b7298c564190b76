package mysql

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/zodb"
)

// pool keeps connections of one kind, and bounds how many there are.
type pool struct {
	db    *DB
	setup string
	slots chan struct{} // holds one for each connection in use

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

func newPool(d *DB, setup string, size int) *pool {
	return &pool{db: d, setup: setup, slots: make(chan struct{}, size)}
}

// get returns a connection, which must be given back with put or drop. It waits
// while all are in use.
func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("all %d connections to %s are in use: %w", cap(p.slots), p.db.name, ctx.Err())
	}
	c, err := p.idleOrNew(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return c, nil
}

func (p *pool) idleOrNew(ctx context.Context) (*conn, error) {
	for {
		c, err := p.take()
		if err != nil {
			return nil, err
		}
		if c == nil {
			c, err := p.db.connect(ctx, p.setup)
			return c, p.db.failure(err)
		}
		if c.alive(ctx) {
			return c, nil
		}
		c.close()
	}
}

// take returns the connection that was given back last, nil if there is none.
func (p *pool) take() (*conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, zodb.ErrClosed
	}
	n := len(p.idle) - 1
	if n < 0 {
		return nil, nil
	}
	c := p.idle[n]
	p.idle = p.idle[:n]
	return c, nil
}

// put gives back a connection that is in no transaction.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	keep := !p.closed && c.valid()
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		c.close()
	}
	<-p.slots
}

// drop gives back a connection that is of no use any more. If it may still be doing
// something in the server, such as holding or waiting for locks, that is ended.
func (p *pool) drop(c *conn) {
	c.close()
	p.db.kill(c)
	<-p.slots
}

// forget closes what is idle: where one connection broke, the others are no better.
func (p *pool) forget() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// close closes what is idle now and, later, what is in use.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.forget()
}

// figures tells how many connections there are.
func (p *pool) figures(name string) sqlstorage.Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	used := len(p.slots)
	return sqlstorage.Pool{Name: name, Open: min(used+len(p.idle), cap(p.slots)), InUse: used, Limit: cap(p.slots)}
}

// kill ends a session that we lost, so that its locks are free. It waits for the
// server no longer than a moment: if this fails the server will find out by itself.
func (d *DB) kill(lost *conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := d.connectTo(ctx, lost.at, readerSession)
	if err != nil {
		return
	}
	defer c.close()
	if c.info.server != lost.info.server || c.restarted(ctx, lost.since) {
		return // the number is somebody else's now
	}
	c.send(ctx, fmt.Sprintf("KILL CONNECTION %d", lost.info.id), nil)
}

// restarted reports whether the server may have been started after a time.
func (c *conn) restarted(ctx context.Context, since time.Time) bool {
	var name string
	var uptime int64
	age := time.Since(since) // before the server looks at its clock
	err := c.text(ctx, "SHOW GLOBAL STATUS LIKE 'Uptime'", func(r *row) error { return r.Scan(&name, &uptime) })
	return err != nil || time.Duration(uptime)*time.Second < age-time.Second
}
