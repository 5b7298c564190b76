package postgres_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/internal/testpg"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// A server and RelStorage processes that write to one database at the same time
// increment the same counters and move money between the same accounts. Nothing may
// get lost, no snapshot may show another sum, and no view may go back.
//
// ZARI_SECONDS makes the rounds longer than their few seconds; 120 is the proof.

func mixedSeconds(t *testing.T) int {
	s := os.Getenv("ZARI_SECONDS")
	if s == "" {
		return 4
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("ZARI_SECONDS=%q", s)
	}
	return n
}

// sharedStore opens a store on a database that others write to.
func sharedStore(t testing.TB, dsn string, form sqlstorage.Form) *store.Store {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Options{DSN: dsn, Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	o := sqlstorage.Options{Form: form, Shared: true, Create: true, References: pickle.OwnReferences}
	engine, err := sqlstorage.Open(t.Context(), db, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), engine, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// The number in the record of a PersistentMapping(n=NUMBER) that takes four bytes: it
// follows the key and a memo.
func numberAt(record []byte) (int, error) {
	key := bytes.Index(record, []byte("X\x01\x00\x00\x00n"))
	if key < 0 {
		return 0, fmt.Errorf("no key n in %q", record)
	}
	at := bytes.IndexByte(record[key:], 'J')
	if at < 0 || key+at+5 > len(record) {
		return 0, fmt.Errorf("no number in %q", record)
	}
	return key + at + 1, nil
}

func numberIn(record []byte) (int64, error) {
	at, err := numberAt(record)
	if err != nil {
		return 0, err
	}
	return int64(int32(binary.LittleEndian.Uint32(record[at:]))), nil
}

func withNumber(record []byte, n int64) ([]byte, error) {
	at, err := numberAt(record)
	if err != nil {
		return nil, err
	}
	record = bytes.Clone(record)
	binary.LittleEndian.PutUint32(record[at:], uint32(n))
	return record, nil
}

// tally is what a worker has done, in Go or in testdata/peer.py.
type tally struct {
	Done, Maybe                       map[string]int64
	Transfers, Conflicts, Lost, Views int64
}

// worker is peer.py's Worker on a storage of ours.
type worker struct {
	tally
	s      zodb.Storage
	oids   map[string]zodb.OID
	random *rand.Rand
	seen   map[string]int64
	lastly zodb.TID
	retry  int64 // snapshots that were gone
}

func newWorker(s zodb.Storage, oids map[string]zodb.OID, seed uint64) *worker {
	return &worker{
		s: s, oids: oids, random: rand.New(rand.NewPCG(seed, 1)), seen: make(map[string]int64),
		tally: tally{Done: make(map[string]int64), Maybe: make(map[string]int64)},
	}
}

var errGone = errors.New("the snapshot is gone")

// snapshot reads everything as it was at one moment.
func (w *worker) snapshot(ctx context.Context) (map[string]zodb.Record, error) {
	at := w.s.LastTID()
	if at < w.lastly {
		return nil, fmt.Errorf("LastTID went back from %v to %v", w.lastly, at)
	}
	w.lastly = at
	found := make(map[string]zodb.Record)
	for name, oid := range w.oids {
		rec, err := w.s.LoadBefore(ctx, oid, at+1)
		if missing, ok := errors.AsType[*zodb.NoObjectError](err); ok && missing.Known {
			return nil, errGone
		}
		if err != nil {
			return nil, fmt.Errorf("load %s: %w", name, err)
		}
		found[name] = rec
	}
	return found, nil
}

// look checks a snapshot.
func (w *worker) look(found map[string]zodb.Record) (map[string]int64, error) {
	var sum, accounts int64
	numbers := make(map[string]int64)
	for name, rec := range found {
		n, err := numberIn(rec.Data)
		if err != nil {
			return nil, err
		}
		numbers[name] = n
		if strings.HasPrefix(name, "a") {
			sum += n
			accounts++
		} else if n < w.seen[name] {
			return nil, fmt.Errorf("%s went back from %d to %d", name, w.seen[name], n)
		} else {
			w.seen[name] = n
		}
	}
	if sum != accounts*start {
		return nil, fmt.Errorf("the sum of the accounts is %d, want %d: %v", sum, accounts*start, numbers)
	}
	w.Views++
	return numbers, nil
}

const start = 1_000_000

func (w *worker) step(ctx context.Context) error {
	found, err := w.snapshot(ctx)
	if err == errGone {
		w.retry++
		return nil
	}
	if err != nil {
		return w.excused(err, "")
	}
	numbers, err := w.look(found)
	if err != nil {
		return err
	}
	changes := make(map[string]int64)
	check, counter := "", ""
	a, b := w.pick("a"), w.pick("a")
	if w.random.IntN(2) == 0 {
		counter, check = w.pick("c"), a
		changes[counter] = numbers[counter] + 1
	} else if a != b {
		amount := int64(w.random.IntN(100) + 1)
		changes[a], changes[b] = numbers[a]-amount, numbers[b]+amount
	}
	err = w.commit(ctx, found, changes, check)
	switch {
	case err != nil:
		return w.excused(err, counter)
	case counter != "":
		w.Done[counter]++
	default:
		w.Transfers++
	}
	return nil
}

func (w *worker) pick(kind string) string {
	for {
		name := fmt.Sprint(kind, w.random.IntN(10))
		if _, ok := w.oids[name]; ok {
			return name
		}
	}
}

// excused says whether an error may come: conflicts always, and what a broken session
// makes. One of an unknown outcome is noted.
func (w *worker) excused(err error, counter string) error {
	if _, ok := errors.AsType[*zodb.ConflictError](err); ok {
		w.Conflicts++
		return nil
	}
	if errors.Is(err, sqlstorage.ErrLost) || errors.Is(err, zodb.ErrCommitUnknown) || strings.Contains(err.Error(), "did not say") {
		w.Lost++
		if counter != "" && errors.Is(err, zodb.ErrCommitUnknown) {
			w.Maybe[counter]++
		}
		return nil
	}
	return err
}

func (w *worker) commit(ctx context.Context, found map[string]zodb.Record, changes map[string]int64, check string) error {
	txn, err := w.s.Begin(ctx, zodb.TxnMeta{User: []byte("zari"), Description: []byte("step")})
	if err != nil {
		return err
	}
	defer txn.Abort()
	if check != "" {
		if err := txn.CheckCurrent(ctx, w.oids[check], found[check].Serial); err != nil {
			return err
		}
	}
	for name, n := range changes {
		data, err := withNumber(found[name].Data, n)
		if err == nil {
			err = txn.Store(ctx, w.oids[name], found[name].Serial, data)
		}
		if err != nil {
			return err
		}
	}
	votes, err := txn.Vote(ctx)
	if err != nil {
		return err
	}
	if len(votes.Conflicts) > 0 {
		c := votes.Conflicts[0]
		return &zodb.ConflictError{OID: c.OID, Committed: c.Committed, Read: c.Read}
	}
	time.Sleep(time.Duration(w.random.IntN(10)) * time.Millisecond) // locks alone keep others away
	_, err = txn.Finish(ctx, func(zodb.TID) {})
	return err
}

// mixed is one round of the test.
type mixed struct {
	servers, workers, peers int                                                 // of ours, on each of them, of RelStorage
	beside                  func(t *testing.T, ctx context.Context, dsn string) // what goes on besides
}

func (m mixed) run(t *testing.T, form sqlstorage.Form) {
	dsn := testpg.Database(t)
	runRelstorage(t, "create", dsn, word(form))
	var oids map[string]zodb.OID
	if err := json.Unmarshal([]byte(runRelstorage(t, "setup", dsn, word(form))), &oids); err != nil {
		t.Fatal(err)
	}
	servers := make([]*store.Store, m.servers)
	for i := range servers {
		servers[i] = sharedStore(t, dsn, form)
	}
	seconds := mixedSeconds(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seconds)*time.Second)
	defer cancel()

	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []tally
	done := func(who string, x tally) {
		mu.Lock()
		defer mu.Unlock()
		t.Logf("%s: %+v", who, x)
		all = append(all, x)
	}
	for i := range m.peers {
		cmd := relstorage(t, "work", dsn, word(form), strconv.Itoa(seconds), strconv.Itoa(i))
		wg.Go(func() {
			out, err := cmd.Output()
			var x tally
			if err == nil {
				err = json.Unmarshal(out, &x)
			}
			if err != nil {
				t.Errorf("RelStorage %d: %v\n%s%s", i, err, out, cmd.Stderr)
				return
			}
			done(fmt.Sprint("RelStorage ", i), x)
		})
	}
	for i, s := range servers {
		for j := range m.workers {
			wg.Go(func() {
				w := newWorker(s, oids, uint64(10*i+j))
				for ctx.Err() == nil {
					if err := w.step(context.WithoutCancel(ctx)); err != nil {
						t.Errorf("Zari %d.%d: %v", i, j, err)
						return
					}
				}
				done(fmt.Sprintf("Zari %d.%d", i, j), w.tally)
			})
		}
	}
	if m.beside != nil {
		wg.Go(func() { m.beside(t, ctx, dsn) })
	}
	wg.Wait()
	if !t.Failed() {
		m.verify(t, dsn, form, oids, all)
	}
}

// verify compares what is in the database with what was acknowledged.
func (m mixed) verify(t *testing.T, dsn string, form sqlstorage.Form, oids map[string]zodb.OID, all []tally) {
	t.Helper()
	if len(all) != m.peers+m.servers*m.workers {
		t.Fatalf("only %d have told what they did", len(all))
	}
	w := newWorker(sharedStore(t, dsn, form), oids, 0)
	found, err := w.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := w.look(found)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for name, n := range numbers {
		if !strings.HasPrefix(name, "c") {
			continue
		}
		var sure, maybe int64
		for _, x := range all {
			sure, maybe = sure+x.Done[name], maybe+x.Maybe[name]
		}
		if n < start+sure || n > start+sure+maybe {
			t.Errorf("%s was incremented %d times, acknowledged are %d and unknown %d", name, n-start, sure, maybe)
		}
		sum += sure
	}
	for i, x := range all {
		if x.Views == 0 {
			t.Errorf("worker %d has seen nothing", i)
		}
	}
	t.Logf("%d increments, none lost", sum)
	checkRows(t, dsn, form)
}

// checkRows looks at what RelStorage relies on in every row.
func checkRows(t *testing.T, dsn string, form sqlstorage.Form) {
	t.Helper()
	wrong := map[string]string{
		"state_size": "SELECT count(*) FROM object_state WHERE state_size <> coalesce(length(state), 0)",
	}
	if form == sqlstorage.Preserving {
		wrong["md5"] = "SELECT count(*) FROM object_state WHERE state IS NOT NULL AND md5 IS DISTINCT FROM md5(state)"
		wrong["current_object"] = `SELECT count(*) FROM current_object c
			WHERE tid <> (SELECT max(tid) FROM object_state o WHERE o.zoid = c.zoid)`
		wrong["prev_tid"] = `SELECT count(*) FROM (SELECT prev_tid, lag(tid, 1, 0::bigint) OVER (PARTITION BY zoid ORDER BY tid) AS before FROM object_state) x
			WHERE prev_tid NOT IN (0, before)`
	}
	for what, sql := range wrong {
		if n := query[int64](t, dsn, sql); n != 0 {
			t.Errorf("%s is wrong in %d rows", what, n)
		}
	}
}

func TestMixedWriting(t *testing.T) {
	for _, form := range forms {
		t.Run(word(form), func(t *testing.T) { mixed{servers: 2, workers: 2, peers: 2}.run(t, form) })
	}
}

func TestMixedWritingWhileSessionsDie(t *testing.T) {
	kill := func(t *testing.T, ctx context.Context, dsn string) {
		conn := connect(t, dsn)
		for ctx.Err() == nil {
			_, err := conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'zari' ORDER BY random() LIMIT 1`)
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	for _, form := range forms {
		t.Run(word(form), func(t *testing.T) { mixed{servers: 2, workers: 2, peers: 1, beside: kill}.run(t, form) })
	}
}

func TestMixedWritingWhilePacking(t *testing.T) {
	for _, form := range forms {
		t.Run(word(form), func(t *testing.T) {
			packing := func(t *testing.T, ctx context.Context, dsn string) {
				s := sharedStore(t, dsn, form)
				for n := 0; ctx.Err() == nil; n++ {
					if n%2 == 0 {
						runRelstorage(t, "pack", dsn, word(form), "1")
						continue
					}
					if err := s.Pack(t.Context(), time.Now(), zodb.PackOptions{GC: true}); err != nil {
						t.Errorf("pack: %v", err)
						return
					}
				}
			}
			mixed{servers: 2, workers: 2, peers: 1, beside: packing}.run(t, form)
		})
	}
}
