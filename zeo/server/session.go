package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// session is one client's connection. Its fields are used by the reader
// goroutine only, unless they say otherwise.
type session struct {
	server *Server
	conn   net.Conn
	out    *outbox
	logger atomic.Pointer[slog.Logger] // names the client
	addr   string
	ctx    context.Context // done when the connection is closed
	cancel context.CancelFunc
	calls  chan struct{}  // a place for each call that runs beside the reader
	phases chan func()    // votes and finishes, which run one after the other beside the reader; nil before the first
	wg     sync.WaitGroup // calls and phases

	closing sync.Once
	cause   error // why the connection was closed, under closing

	codec    wire.Codec
	frame    []byte // the one that is executed, and what it says
	msg      wire.Message
	hub      *hub // nil before register
	readOnly bool

	txn       *transaction // nil between transactions
	finishing atomic.Int32 // finishes under way
	voting    atomic.Bool  // a transaction is voted or being voted

	blobFile  *blobUpload
	iterators iterators
}

func newSession(s *Server, conn net.Conn) *session {
	x := &session{server: s, conn: conn, addr: addrLabel(conn), readOnly: s.opts.ReadOnly}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	x.calls = make(chan struct{}, s.opts.MaxCalls)
	x.logger.Store(s.opts.Logger.With("client", x.addr))
	x.out = newOutbox(conn, s.opts.MaxQueue, x.close)
	x.iterators.open = make(map[int64]*iterator)
	return x
}

// log returns the logger that names the client. Anybody may call it.
func (x *session) log() *slog.Logger { return x.logger.Load() }

// close closes the connection, which makes the reader clean up. Anybody may call
// it; the first cause is logged.
func (x *session) close(cause error) {
	x.closing.Do(func() {
		x.cause = cause
		x.cancel()
		x.out.close()
		x.conn.Close()
	})
}

// run is the reader: it serves the connection until it ends.
func (x *session) run() {
	x.wg.Go(func() { x.out.writeLoop(x.ctx.Done()) })
	err := x.serve()
	x.close(err)
	x.cleanUp()
}

// cleanUp frees what the connection held, whoever closed it.
func (x *session) cleanUp() {
	if t := x.txn; t != nil {
		x.log().Info("disconnected during transaction", "voted", t.state() == txnVoted)
		if !planted.LeakLockOnDisconnect {
			t.abort()
		}
		x.endTransaction()
	}
	if x.phases != nil {
		close(x.phases)
	}
	x.wg.Wait()
	x.blobFile.discard()
	x.iterators.closeAll()
	if x.hub != nil {
		x.hub.leave(x)
		x.server.extras.release(x.hub)
	}
	x.server.remove(x)
	if x.cause != nil && !errors.Is(x.cause, io.EOF) && !errors.Is(x.cause, net.ErrClosed) {
		x.log().Warn("disconnected", "reason", x.cause)
		return
	}
	x.log().Info("disconnected")
}

// serve shakes hands and answers messages.
func (x *session) serve() error {
	x.conn.SetDeadline(time.Now().Add(x.server.opts.Handshake))
	x.greet()
	r := wire.NewReader(x.conn, x.server.opts.MaxFrame)
	hello, err := r.Next()
	if err != nil {
		return err
	}
	x.conn.SetDeadline(time.Time{})
	codec, err := wire.ParseHello(hello)
	if err == wire.ErrRuok {
		return x.imok()
	}
	if err != nil {
		return err
	}
	x.codec = codec
	x.log().Info("connected", "protocol", string(hello))
	return x.readLoop(r)
}

func (x *session) greet() {
	x.out.add(func(dst []byte) []byte { return wire.AppendFrame(dst, x.server.opts.Codec.Hello()) })
	x.out.flush()
}

// readLoop answers messages. Answers are written when no further message has
// arrived, or when there are many.
func (x *session) readLoop(r *wire.Reader) error {
	for {
		if !r.Buffered() || x.out.pending() > writeSize {
			x.out.flushAndWait()
		}
		frame, err := r.Next()
		if err != nil {
			return err
		}
		if err := x.message(frame); err != nil {
			return err
		}
	}
}

// message executes one message. An error closes the connection. The frame is
// only valid during the call.
func (x *session) message(frame []byte) error {
	x.frame = frame
	m := &x.msg
	if err := x.codec.Parse(frame, m); err != nil {
		return fmt.Errorf("undecodable message: %w", err)
	}
	if m.Heartbeat() {
		return nil
	}
	method, ok := methods[m.Method]
	if !ok || (x.hub == nil) != (m.Method == "register") {
		return fmt.Errorf("method %q is not allowed", m.Method)
	}
	if method.slow {
		return x.beside(func(m *wire.Message) {
			if err := x.call(m, method); err != nil {
				x.close(err)
			}
		})
	}
	return x.call(m, method)
}

// call runs a method and answers.
func (x *session) call(m *wire.Message, method method) error {
	result, err := method.run(x, m)
	switch {
	case err == errAnswered:
		return nil
	case err != nil && m.Async:
		return fmt.Errorf("%s: %w", m.Method, err)
	case err != nil:
		x.answerError(m.ID, m.Method, err)
	case !m.Async:
		x.answer(m.ID, result)
	}
	return nil
}

// beside runs fn with a copy of the message at hand in a goroutine of its own. It
// waits while there are too many.
func (x *session) beside(fn func(m *wire.Message)) error {
	m, err := x.codec.Decode(bytes.Clone(x.frame))
	if err != nil {
		return err
	}
	return x.goBeside(func() { fn(m) })
}

// goBeside runs fn in a goroutine of its own and flushes what it has queued.
func (x *session) goBeside(fn func()) error {
	select {
	case x.calls <- struct{}{}:
	case <-x.ctx.Done():
		return x.ctx.Err()
	}
	x.wg.Go(func() {
		defer func() { <-x.calls }()
		fn()
		x.out.flush()
	})
	return nil
}

// phase runs a vote or a finish beside the reader and flushes what it has queued.
// One goroutine does so for the whole connection: a client has one transaction.
func (x *session) phase(fn func()) {
	if x.phases == nil {
		x.phases = make(chan func(), 4)
		x.wg.Go(func() {
			for fn := range x.phases {
				fn()
				x.out.flush()
			}
		})
	}
	x.phases <- fn
}

// answer queues the result of a call.
func (x *session) answer(id wire.RawID, result any) {
	x.out.add(func(dst []byte) []byte {
		out, err := x.codec.AppendReply(dst, id, result)
		if err != nil {
			x.log().Error("an answer cannot be encoded", "err", err)
			return x.codec.AppendError(dst, id, err)
		}
		return out
	})
}

func (x *session) answerError(id wire.RawID, method string, err error) {
	x.logError(method, err)
	x.out.add(func(dst []byte) []byte { return x.codec.AppendError(dst, id, err) })
}

// logError logs what an operator should see: not that an object does not exist,
// nor that two clients wrote the same one.
func (x *session) logError(method string, err error) {
	if _, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		return
	}
	if _, ok := errors.AsType[*zodb.ConflictError](err); ok {
		return
	}
	level := slog.LevelError
	if clientMistake(err) {
		level = slog.LevelInfo
	}
	x.log().Log(x.ctx, level, "call failed", "method", method, "err", err)
}

// clientMistake reports whether the fault lies with the client.
func clientMistake(err error) bool {
	_, python := errors.AsType[*wire.PyError](err)
	_, phase := errors.AsType[*zodb.TxnError](err)
	_, undo := errors.AsType[*zodb.UndoError](err)
	return python || phase || undo || errors.Is(err, zodb.ErrReadOnly) || errors.Is(err, context.Canceled)
}

// queueInvalidation is called by the hub.
func (x *session) queueInvalidation(c zodb.Change, frames *frameCache) {
	if planted.LostInvalidation && planted.Seldom() {
		x.out.view.Store(uint64(c.TID))
		return
	}
	frame := frames.invalidation(x.codec, c)
	x.out.mu.Lock()
	defer x.out.mu.Unlock()
	x.out.view.Store(uint64(c.TID))
	x.out.addLocked(func(dst []byte) []byte { return append(dst, frame...) })
}

// queueFinished is called by the hub: the committer gets the size of the storage
// and the answer to its tpc_finish, and no invalidation. From then on
// server_status does not say that its transaction holds locks.
func (x *session) queueFinished(f finish, tid zodb.TID) {
	x.out.mu.Lock()
	defer x.out.mu.Unlock()
	x.out.view.Store(uint64(tid))
	x.hub.stats.commits.Add(1)
	x.hub.stats.unlocked(f.txn)
	if planted.FinishReplyLate {
		return
	}
	x.out.addLocked(func(dst []byte) []byte { return x.appendFinished(dst, f.msgID, tid) })
}

func (x *session) appendFinished(dst []byte, msgID wire.RawID, tid zodb.TID) []byte {
	info := x.hub.storage.Info()
	dst = x.codec.AppendInfo(dst, info.Objects, info.Size)
	return x.codec.AppendTID(dst, msgID, tid)
}
