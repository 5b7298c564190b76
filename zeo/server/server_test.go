package server

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// each runs a test with both encodings.
func each(t *testing.T, fn func(t *testing.T, codec wire.Codec)) {
	for _, codec := range []wire.Codec{wire.Pickle, wire.Msgpack} {
		t.Run(codec.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { fn(t, codec) })
		})
	}
}

func TestCommitAndLoad(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{})
		c := s.register(t, codec)
		tid := c.commit(1, 7, 0, "state")
		got := c.mustCall("loadBefore", zodb.OID(7), tid+1).(pickle.Tuple)
		if string(got[0].([]byte)) != "state" || asTID(t, got[1]) != tid || got[2] != nil {
			t.Errorf("loadBefore = %v", got)
		}
		if got := c.mustCall("loadBefore", zodb.OID(7), tid); got != nil {
			t.Errorf("loadBefore before the creation = %v, want None", got)
		}
		_, err := c.call("loadBefore", zodb.OID(8), tid+1)
		if missing, ok := errors.AsType[*zodb.NoObjectError](err); !ok || missing.OID != 8 {
			t.Errorf("loadBefore of an unknown object: %v", err)
		}
	})
}

func TestInvalidationsComeBeforeWhatShowsThem(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{})
		a, b := s.register(t, codec), s.register(t, codec)
		tid := a.commit(1, 7, 0, "one")
		if last := asTID(t, b.mustCall("lastTransaction")); last != tid {
			t.Fatalf("lastTransaction = %v, want %v", last, tid)
		}
		want := event{"invalidateTransaction", tid, []zodb.OID{7}}
		if len(b.events) != 1 || b.events[0].name != want.name || b.events[0].tid != tid || !slices.Equal(b.events[0].oids, want.oids) {
			t.Errorf("before the answer came %v, want %v", b.events, want)
		}
		for _, e := range a.events {
			if e.name == want.name {
				t.Errorf("the committer got %v", e)
			}
		}
	})
}

func TestVotesOfDisjointObjectsProceed(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{})
		slow, quick := s.register(t, codec), s.register(t, codec)
		slow.begin(1, 7, 0, "slow")
		slow.mustCall("vote", int64(1))
		first := quick.commit(1, 8, 0, "quick")
		second := asTID(t, slow.mustCall("tpc_finish", int64(1)))
		if second <= first {
			t.Errorf("the transaction that finished later has tid %v, the other %v", second, first)
		}
	})
}

func TestVoteWaitsForTheSameObject(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{})
		a, b := s.register(t, codec), s.register(t, codec)
		a.begin(1, 7, 0, "a")
		a.mustCall("vote", int64(1))
		b.begin(1, 7, 0, "b")
		id := b.send("vote", int64(1))
		synctest.Wait()
		if n := s.hubs["1"].stats.waiting.Load(); n != 1 {
			t.Fatalf("%d votes wait, want 1", n)
		}
		tid := asTID(t, a.mustCall("tpc_finish", int64(1)))
		conflicts := items(t, must(b.receive(id)))
		d := conflicts[0].(*pickle.Dict)
		serials, _ := d.Get("serials")
		if committed := asTID(t, serials.(pickle.Tuple)[0]); committed != tid {
			t.Errorf("conflict with %v, want %v", committed, tid)
		}
		// the client merges; the lock is held meanwhile
		b.oneWay("storea", zodb.OID(7), tid, []byte("merged"), int64(1))
		if left := items(t, b.mustCall("vote", int64(1))); len(left) != 0 {
			t.Fatalf("second vote = %v", left)
		}
		b.mustCall("tpc_finish", int64(1))
	})
}

func TestDisconnectFreesLocks(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{})
		a, b := s.register(t, codec), s.register(t, codec)
		a.begin(1, 7, 0, "a")
		a.mustCall("vote", int64(1))
		b.begin(1, 7, 0, "b")
		id := b.send("vote", int64(1))
		synctest.Wait()
		a.conn.Close()
		if got := items(t, must(b.receive(id))); len(got) != 0 {
			t.Errorf("vote = %v", got)
		}
		b.mustCall("tpc_finish", int64(1))
	})
}

// What a client has been told is done does not hold locks in what server_status says.
func TestStatusAfterFinish(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{})
		c := s.register(t, codec)
		more := make(chan struct{})
		_, stop := s.storage.Observe(func(zodb.Change) { <-more }) // after the server: Finish is not back when the answer is sent
		defer stop()
		c.begin(1, 7, 0, "x")
		c.mustCall("vote", int64(1))
		c.mustCall("tpc_finish", int64(1))
		status := c.mustCall("server_status").(*pickle.Dict)
		if since, _ := status.Get("lock_time"); since != nil {
			t.Errorf("locks are held since %v", since)
		}
		close(more)
	})
}

func TestTransactionTimeout(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{TransactionTimeout: 10 * time.Second})
		a, b := s.register(t, codec), s.register(t, codec)
		a.begin(1, 7, 0, "a")
		a.mustCall("vote", int64(1))
		b.begin(1, 7, 0, "b")
		began := time.Now()
		if got := items(t, b.mustCall("vote", int64(1))); len(got) != 0 {
			t.Errorf("vote = %v", got)
		}
		if waited := time.Since(began); waited != 10*time.Second {
			t.Errorf("the lock was freed after %v", waited)
		}
		a.closed()
	})
}

func TestVoteTwice(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{})
		c := s.register(t, codec)
		c.begin(1, 7, 0, "a")
		c.mustCall("vote", int64(1))
		_, err := c.call("vote", int64(1))
		if _, ok := errors.AsType[*zodb.TxnError](err); !ok {
			t.Errorf("second vote: %v", err)
		}
		c.mustCall("tpc_finish", int64(1))
	})
}

func TestFinishWithoutVote(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{})
		c := s.register(t, codec)
		c.begin(1, 7, 0, "a")
		_, err := c.call("tpc_finish", int64(1))
		if e, ok := errors.AsType[*wire.PyError](err); !ok || e.Class != wire.AssertionError {
			t.Errorf("tpc_finish: %v", err)
		}
		if v := c.mustCall("tpc_finish", int64(99)); v != nil {
			t.Errorf("tpc_finish of an unknown transaction = %v", v)
		}
	})
}

func TestReadOnly(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{ReadOnly: true})
		c := s.connect(t, codec)
		if _, err := c.call("register", "1", false); !errors.Is(err, zodb.ErrReadOnly) {
			t.Fatalf("register: %v", err)
		}
		c.mustCall("register", "1", true) // the same connection may try again
		if _, err := c.call("new_oids", int64(3)); !errors.Is(err, zodb.ErrReadOnly) {
			t.Errorf("new_oids: %v", err)
		}
		c.oneWay("tpc_begin", int64(1), []byte{}, []byte{}, pickle.NewDict())
		c.closed()
	})
}

func TestGetInvalidations(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{InvalidationQueueSize: 2})
		c := s.register(t, codec)
		var tids []zodb.TID
		for i := range 4 {
			tids = append(tids, c.commit(1, zodb.OID(i+1), 0, "x"))
			time.Sleep(time.Second)
		}
		got := c.mustCall("getInvalidations", tids[1]).(pickle.Tuple)
		if asTID(t, got[0]) != tids[3] || len(items(t, got[1])) != 2 {
			t.Errorf("getInvalidations(%v) = %v", tids[1], got)
		}
		if got := c.mustCall("getInvalidations", tids[0]); got != nil {
			t.Errorf("before the queue: %v, want None", got)
		}
		got = c.mustCall("getInvalidations", tids[2]+1).(pickle.Tuple)
		if asTID(t, got[0]) != tids[3] || len(items(t, got[1])) != 1 {
			t.Errorf("from between two transactions: %v", got)
		}
	})
}

func TestInvalidationAge(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{InvalidationQueueSize: 1, InvalidationAge: time.Hour})
		c := s.register(t, codec)
		first := c.commit(1, 1, 0, "x")
		for i := range 4 {
			c.commit(1, zodb.OID(i+2), 0, "x")
		}
		got := c.mustCall("getInvalidations", first).(pickle.Tuple)
		if len(items(t, got[1])) != 4 {
			t.Errorf("getInvalidations = %v", got)
		}
		time.Sleep(2 * time.Hour)
		if got := c.mustCall("getInvalidations", first); got != nil {
			t.Errorf("past the age: %v, want None", got)
		}
	})
}

func TestSlowReaderLosesItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{MaxQueue: 64 << 10})
		writer := s.register(t, wire.Pickle)
		a := s.l.dial(t) // reads the greeting and its answer, and then nothing any more
		t.Cleanup(func() { a.Close() })
		r := wire.NewReader(a, 0)
		r.Next()
		hello := wire.AppendFrame(nil, wire.Pickle.Hello())
		call, _ := wire.Pickle.AppendCall(hello, int64(1), "register", "1", false)
		a.Write(call)
		r.Next()
		last := zodb.TID(0)
		for i := range 4000 {
			last = writer.commit(int64(i+1), 7, last, "x")
		}
		synctest.Wait()
		if n := s.hubs["1"].count(); n != 1 {
			t.Errorf("%d connections are left, want that of the writer", n)
		}
	})
}

func TestUnknownMethodCloses(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{})
		for _, call := range []func(c *client){
			func(c *client) { c.send("get_info") }, // before register
			func(c *client) { c.mustCall("register", "1", false); c.send("register", "1", false) },
			func(c *client) { c.mustCall("register", "1", false); c.send("__class__") },
			func(c *client) { c.write(wire.AppendFrame(nil, []byte("garbage"))) },
			func(c *client) {
				c.mustCall("register", "1", false)
				c.oneWay("storea", zodb.OID(1), nil, []byte("x"), int64(1))
			},
		} {
			c := s.connect(t, codec)
			call(c)
			c.closed()
		}
	})
}

func TestIterators(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{MaxIterators: 2})
		c := s.register(t, codec)
		tid := c.commit(1, 7, 0, "state")
		id := c.mustCall("iterator_start", nil, nil)
		txn := c.mustCall("iterator_next", id).(pickle.Tuple)
		if asTID(t, txn[0]) != tid || txn[1] != " " || string(txn[2].([]byte)) != "user" {
			t.Errorf("iterator_next = %v", txn)
		}
		records := c.mustCall("iterator_record_start", id, tid)
		rec := c.mustCall("iterator_record_next", records).(pickle.Tuple)
		if string(rec[2].([]byte)) != "state" || rec[3] != nil {
			t.Errorf("iterator_record_next = %v", rec)
		}
		if _, err := c.call("iterator_start", nil, nil); err == nil {
			t.Error("a third iterator may be opened")
		}
		for range 2 {
			c.call("iterator_record_next", records)
			c.call("iterator_next", id)
		}
		_, err := c.call("iterator_next", id)
		if e, ok := errors.AsType[*wire.PyError](err); !ok || e.Class != wire.KeyError {
			t.Errorf("a forgotten iterator: %v", err)
		}
	})
}

func TestRuok(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{})
		conn := s.l.dial(t)
		defer conn.Close()
		r := wire.NewReader(conn, 0)
		r.Next()
		conn.Write(wire.AppendFrame(nil, []byte("ruok")))
		answer, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		var status map[string]map[string]any
		if err := json.Unmarshal(answer, &status); err != nil {
			t.Fatal(err)
		}
		if status["1"]["timeout-thread-is-alive"] != "stub" || status["1"]["connections"] != float64(0) {
			t.Errorf("ruok = %v", status)
		}
	})
}

func TestDrainLetsVotedTransactionsFinish(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{})
		voted, begun := s.register(t, codec), s.register(t, codec)
		voted.begin(1, 7, 0, "a")
		voted.mustCall("vote", int64(1))
		begun.begin(1, 8, 0, "b")
		begun.mustCall("ping")
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(context.Background()) }()
		synctest.Wait()
		begun.send("vote", int64(1))
		begun.closed()
		voted.mustCall("tpc_finish", int64(1))
		if err := <-drained; err != nil {
			t.Errorf("Drain: %v", err)
		}
		if _, err := s.storage.LoadBefore(context.Background(), 7, zodb.MaxTID); err != nil {
			t.Errorf("the voted transaction is not there: %v", err)
		}
	})
}

func must(v any, err error) any {
	if err != nil {
		panic(err)
	}
	return v
}

func items(t *testing.T, v any) []any {
	t.Helper()
	switch v := v.(type) {
	case *pickle.List:
		return v.Items
	case pickle.Tuple:
		return v
	}
	t.Fatalf("%v is not a list", v)
	return nil
}

// TestBuffersAreNotShared sends several records in one write, so that later ones
// overwrite the reader's buffer of earlier ones, and looks what was kept.
func TestBuffersAreNotShared(t *testing.T) {
	each(t, func(t *testing.T, codec wire.Codec) {
		s := serve(t, Options{})
		c := s.register(t, codec)
		const n = 300
		big := make([]byte, 1000)
		data := func(i int) []byte {
			b := slices.Clone(big)
			b[0], b[len(b)-1] = byte(i), byte(i>>8)
			return b
		}
		tid := zodb.TIDAt(time.Now().Add(time.Hour))
		c.oneWay("tpc_begin", int64(1), []byte("u"), []byte("d"), pickle.NewDict("k", "v"), tid, " ")
		for i := range n {
			c.oneWay("restorea", zodb.OID(i), tid, data(i), nil, int64(1))
		}
		c.mustCall("vote", int64(1))
		c.mustCall("tpc_finish", int64(1))
		c.oneWay("tpc_begin", int64(2), []byte("user two"), []byte("why"), pickle.NewDict("key", "value"))
		for i := range n {
			c.oneWay("storea", zodb.OID(n+i), nil, data(n+i), int64(2))
		}
		c.mustCall("vote", int64(2))
		c.mustCall("tpc_finish", int64(2))
		for i := range 2 * n {
			rec, err := s.storage.LoadBefore(t.Context(), zodb.OID(i), zodb.MaxTID)
			if err != nil || !slices.Equal(rec.Data, data(i)) {
				t.Fatalf("object %d has %d...%d, %v", i, rec.Data[0], rec.Data[len(rec.Data)-1], err)
			}
		}
	})
}

func TestSilentClientIsSentAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{})
		conn := s.l.dial(t)
		defer conn.Close()
		r := wire.NewReader(conn, 0)
		r.Next()
		began := time.Now()
		if _, err := r.Next(); err == nil {
			t.Error("the server says something")
		}
		if waited := time.Since(began); waited != 30*time.Second {
			t.Errorf("sent away after %v", waited)
		}
		c := s.register(t, wire.Pickle)
		time.Sleep(time.Hour) // who has registered may be silent
		c.mustCall("ping")
	})
}
