package s3storage

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/internal/roster"
	"github.com/zaridb/zari/zodb"
)

// Options are the settings of an Engine. Only Objects is required.
type Options struct {
	Objects  objstore.Store // the engine closes it
	Name     string         // for people: the URL
	ReadOnly bool           // follow another one's log; nothing is written
	Writer   string         // for people: who writes; default host and process

	// Log is where a writer makes commits durable: in the bucket, or in a front that Fronts has a
	// Place for; the slots are then moved to the bucket behind. Fronts may have more, which
	// a log is brought back from that goes on there. The engine closes them.
	Log    layout.FrontKind
	Fronts []front.Place

	// Abandon names a front that is lost: what is in it and not in the bucket is given up.
	Abandon layout.ID

	// Backlog bounds the bytes of slots that are in the front and not in the bucket; they are in
	// memory too. Votes wait, and are then refused, beyond it. Default 256 MiB.
	Backlog int64

	// Window is how long transactions gather for one PUT after the last one began. 0
	// lets those share a PUT that wait for the one before.
	Window time.Duration

	// Doubt is how long a commit tries to find out what became of its PUT before it
	// says that it does not know. Default 10 s.
	Doubt time.Duration

	// Lease is how long a writer that is not heard of is waited for by the next one;
	// it is renewed three times as often. 0: there is no waiting, who opens takes over.
	Lease time.Duration

	// Poll is how often a reader looks for the next slot. Default 1 s.
	Poll time.Duration

	// Grace is how long garbage stays, for readers that are behind and writers that
	// were stopped. Default 24 h. What a writer takes for granted is given up after a quarter of it.
	Grace time.Duration

	// BlobGrace is how long a blob stays that no transaction names. Default 7 days.
	BlobGrace time.Duration

	// MaxTransaction bounds the bytes of a transaction, which is one object of the log; a vote
	// on a larger one is refused. Default 1 GiB, at most 4 GiB.
	MaxTransaction int64

	SegmentBytes    int64         // about how large segments become; default 64 MiB
	CompactSlots    int           // how many slots are moved to a segment at the latest; default 1000
	CheckpointSlots uint64        // how many slots come between checkpoints; default 1000
	CheckpointEvery time.Duration // at the latest, if anything has changed; default 60 s
	CollectEvery    time.Duration // default 1 h
	TailBytes       int64         // bytes of the newest log objects that are kept in memory; default 64 MiB

	// CacheDir is where blocks of segments are kept, CacheBytes how many bytes; "": only in
	// memory. Servers can share it, also of different databases. Default 1 GiB.
	CacheDir   string
	CacheBytes int64

	CacheMemory int64 // bytes of blocks in memory; default 64 MiB

	// KeepHistory, if not 0, is how long revisions are kept that were replaced: the
	// database is packed by itself.
	KeepHistory time.Duration

	// BlobDir is where files of blobs are staged and cached, in a folder named after
	// the database; "": there are no blobs. BlobCache bounds the bytes of the cache;
	// 0: 1 GiB.
	BlobDir   string
	BlobCache int64

	// References finds the oids that a record refers to; without it no garbage can be
	// collected. PackGC makes every Pack do so.
	References func(record []byte, dst []zodb.OID) ([]zodb.OID, error)
	PackGC     bool

	// OpenURL opens the store of another database: of one that this is a branch of.
	OpenURL func(ctx context.Context, url string) (objstore.Store, error)

	Parallel int  // requests at a time for one purpose; default 32
	Manual   bool // nothing is done by itself: Checkpoint, Compact and Collect are to be called

	// Elapsed is a clock that only goes forward, also while the machine sleeps.
	Elapsed func() time.Duration
	Sleep   func(ctx context.Context, d time.Duration)
	Logger  *slog.Logger

	// Page is where operators find, and the engine closes: the stores of objects, the cache of
	// blocks, and the engine itself if it has a front. nil: nowhere.
	Page *roster.Page
}

func (o Options) withDefaults() Options {
	def(&o.Doubt, 10*time.Second)
	def(&o.Poll, time.Second)
	def(&o.Grace, 24*time.Hour)
	def(&o.BlobGrace, 7*24*time.Hour)
	def(&o.MaxTransaction, 1<<30)
	def(&o.SegmentBytes, 64<<20)
	def(&o.CompactSlots, 1000)
	def(&o.CheckpointSlots, 1000)
	def(&o.CheckpointEvery, time.Minute)
	def(&o.CollectEvery, time.Hour)
	def(&o.TailBytes, 64<<20)
	def(&o.CacheBytes, 1<<30)
	def(&o.CacheMemory, 64<<20)
	def(&o.BlobCache, 1<<30)
	def(&o.Backlog, 256<<20)
	def(&o.Parallel, 32)
	if o.Writer == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown host"
		}
		o.Writer = fmt.Sprintf("%s, process %d", host, os.Getpid())
	}
	if o.Elapsed == nil {
		o.Elapsed = elapsed()
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
