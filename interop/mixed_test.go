package interop

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// mixture is a database that two servers of ours, with clients, and RelStorage processes write to at the same time.
type mixture struct {
	t       *testing.T
	db      *sqlDatabase
	shared  bool
	long    bool     // they work for minutes
	dirs    []string // of the servers
	servers []*server
	workers []*program
}

// variants are what may go on beside the writing, until a time.
var variants = map[string]func(m *mixture, until time.Time){
	"plain":   func(_ *mixture, until time.Time) { time.Sleep(time.Until(until)) },
	"killed":  (*mixture).kill,
	"packing": (*mixture).pack,
}

// errorsIn is how often a client may lose its server.
var errorsIn = map[string]int{"killed": math.MaxInt}

// TestMixedWriting has four RelStorage processes and four clients of two servers of ours increment the same counters and move
// money between the same accounts: see mixed.py. On MariaDB, where there is no RelStorage, there are four clients more.
//
// ZARI_SECONDS=120 runs each variant on each database for so long. Otherwise ZARI_SEED, or the day, chooses a database for each
// variant, which is short.
func TestMixedWriting(t *testing.T) {
	full, seed := number(t, "ZARI_SECONDS", 0), number(t, "ZARI_SEED", time.Now().YearDay())
	dice := rand.New(rand.NewPCG(uint64(seed), 0))
	for _, variant := range slices.Sorted(maps.Keys(variants)) {
		t.Run(variant, func(t *testing.T) {
			test := func(t *testing.T, db *sqlDatabase) {
				m := mix(t, db)
				m.long = full > 60
				m.run(time.Duration(cmp.Or(full, 4))*time.Second, variants[variant])
				m.verify(errorsIn[variant])
			}
			if full > 0 {
				onEach(t, test)
				return
			}
			t.Logf("ZARI_SEED=%d", seed)
			onOne(t, pick(dice, sqlDatabases), pick(dice, forms), test)
		})
	}
}

// pick chooses one of the keys.
func pick[V any](dice *rand.Rand, from map[string]V) string {
	keys := slices.Sorted(maps.Keys(from))
	return keys[dice.IntN(len(keys))]
}

// mix starts two servers that share a database, and all who write.
func mix(t *testing.T, db *sqlDatabase) *mixture {
	t.Helper()
	m := &mixture{t: t, db: db, shared: true}
	one, two := m.serve(), m.serve()
	places := []string{"zeo:" + one, "zeo:" + two, "zeo:" + one + "," + two, "zeo:" + two + "," + one}
	for _, place := range places[:4] {
		if db.audit != "" {
			place = m.relStorage()
		}
		places = append(places, place)
	}
	m.hire(places...)
	return m
}

// relStorage is the database for a program that opens it with RelStorage.
func (m *mixture) relStorage() string {
	kind, _, _ := strings.Cut(m.db.audit, ":")
	if kind != "sqlite" {
		kind = "zconfig"
	}
	return kind + ":" + m.db.conf(m.t)
}

// serve starts one more server.
func (m *mixture) serve() (addr string) {
	m.t.Helper()
	m.dirs, m.servers = append(m.dirs, m.t.TempDir()), append(m.servers, nil)
	m.start(len(m.servers)-1, freeAddr(m.t))
	return m.servers[len(m.servers)-1].addr
}

// start starts a server, also in the place of one that was killed.
func (m *mixture) start(i int, addr string) {
	m.t.Helper()
	section := m.db.storage(filepath.Join(m.dirs[i], "cache"))
	if m.shared {
		section = strings.Replace(section, "<relstorage>\n", "<relstorage>\n shared true\n", 1)
	}
	m.servers[i] = start(m.t, options{dir: m.dirs[i], storage: section, addr: addr})
}

// hire starts who write at these places, and has the last one fill the database: RelStorage makes functions, and several that
// begin to would be in each other's way.
func (m *mixture) hire(places ...string) {
	m.t.Helper()
	var names []string
	for i, place := range places {
		kind, _, _ := strings.Cut(place, ":")
		names = append(names, fmt.Sprint(kind, i))
	}
	python[struct{ Done bool }](m.t, m.t.TempDir(), "mixed.py", append([]string{places[len(places)-1], "setup"}, names...)...)
	for i, place := range places {
		m.workers = append(m.workers, launch(m.t, m.t.TempDir(), "mixed.py", place, names[i]))
	}
	for _, w := range m.workers {
		w.expect(new(ready))
	}
}

// run lets them work until beside returns, some d later.
func (m *mixture) run(d time.Duration, beside func(*mixture, time.Time)) {
	m.t.Helper()
	for _, w := range m.workers {
		w.limit += d
		w.timer.Reset(w.limit)
		w.tell()
	}
	beside(m, time.Now().Add(d))
	for _, w := range m.workers {
		w.tell()
	}
}

// kill kills the first server every ten seconds, or more often if there is not that much time, and starts it again.
func (m *mixture) kill(until time.Time) {
	every := min(10*time.Second, time.Until(until)/3)
	for n := 1; ; n++ {
		if time.Until(until) < every {
			time.Sleep(time.Until(until))
			m.t.Logf("killed %d times", n-1)
			return
		}
		time.Sleep(every)
		m.servers[0].kill()
		m.start(0, m.servers[0].addr)
	}
}

// pack lets a server of ours pack, and RelStorage, in turns.
func (m *mixture) pack(until time.Time) {
	m.t.Helper()
	n := 0
	for ; time.Now().Before(until); n++ {
		if n%2 == 1 && m.db.audit != "" {
			relStorageTool(m.t, "zodbpack", "--days", "0", m.db.file(m.t, "%import relstorage\n"+m.db.storage(filepath.Join(m.t.TempDir(), "cache"))))
		} else if err := startPack(m.t, m.servers[n/2%2]).Wait(); err != nil {
			m.t.Fatalf("zari pack: %v\n%s", err, m.servers[n/2%2].output)
		}
	}
	m.t.Logf("packed %d times", n)
}

// worked is what a worker of mixed.py has done.
type worked struct {
	Name                string
	Done                map[string]int // increments of each counter
	Attempts, Transfers int
	Looks, Conflicts    int
	Broken              int // errors because the server was gone
	Found, Missed       int // commits in doubt that had been made, and that had not
}

// verify compares what is in the database with what all who wrote were told. Each may have seen so many errors besides
// conflicts.
func (m *mixture) verify(most int) {
	m.t.Helper()
	want := make(map[string]int)
	commits, doubts, found := 0, 0, 0
	for _, w := range m.workers {
		var got worked
		w.expect(&got)
		w.wait()
		m.t.Logf("%+v", got)
		if m.long && (got.Looks == 0 || got.Transfers == 0) { // SQLite lets some wait for long
			m.t.Errorf("%s has done nothing", got.Name)
		}
		if got.Broken > most {
			m.t.Errorf("%s saw %d errors, want %d at most", got.Name, got.Broken, most)
		}
		doubts, found = doubts+got.Found+got.Missed, found+got.Found
		commits += got.Transfers
		for name, n := range got.Done {
			want[name] += n
			commits += n
		}
	}
	for _, s := range m.servers {
		m.compare("a server", "zeo:"+s.addr, want)
	}
	if m.db.audit != "" {
		m.compare("RelStorage", m.relStorage(), want)
	}
	for _, s := range m.servers {
		s.stop()
	}
	m.db.auditRows(m.t)
	mustRun(m.t, "check", m.db.url)
	if len(want) == 0 || commits == 0 {
		m.t.Errorf("nothing was done: %v", want)
	}
	m.t.Logf("%d commits, none lost; %d were in doubt, of which %d had been made", commits, doubts, found)
}

// compare has somebody look.
func (m *mixture) compare(who, place string, want map[string]int) {
	m.t.Helper()
	got := python[struct{ Counters map[string]int }](m.t, m.t.TempDir(), "mixed.py", place, "look")
	for name, n := range want {
		if got.Counters[name] != n {
			m.t.Errorf("%s says that %s is %d, and it was incremented %d times", who, name, got.Counters[name], n)
		}
	}
}
