package s3storage_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/front/disklog"
	"github.com/zaridb/zari/engine/s3storage/front/pglog"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore/delay"
	"github.com/zaridb/zari/engine/s3storage/objstore/dir"
	"github.com/zaridb/zari/internal/testpg"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// What the child of TestKilled is told: where the bucket is, and the front, a DSN or a directory.
const (
	childBucket = "ZARI_S3_CHILD_BUCKET"
	childFront  = "ZARI_S3_CHILD_FRONT"
)

// TestMain runs the child of TestKilled, if this is it.
func TestMain(m *testing.M) {
	if bucket := os.Getenv(childBucket); bucket != "" {
		fmt.Println("error", commitForever(bucket, os.Getenv(childFront)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// far is slow enough that a process is killed between the front and the bucket.
var far = delay.Options{
	Seed: 1, Put: delay.Lognormal{Median: 8 * time.Millisecond, P99: 30 * time.Millisecond},
	Get: delay.Lognormal{Median: time.Millisecond, P99: 4 * time.Millisecond},
}

// openKilled opens a bucket with a front, which "" is none; or to read it.
func openKilled(ctx context.Context, bucket, where string, readOnly bool) (*s3storage.Engine, error) {
	objects, err := dir.OpenFS(vfs.NoSync(vfs.OS()), bucket)
	if err != nil {
		return nil, err
	}
	opts := s3storage.Options{Objects: delay.New(objects, far), ReadOnly: readOnly, CheckpointSlots: 20, CompactSlots: 30}
	switch {
	case readOnly || where == "":
	case strings.HasPrefix(where, "/"):
		opts.Log = layout.OnDisk
		var p front.Place
		if p, err = disklog.OpenFS(vfs.NoSync(vfs.OS()), where); err == nil {
			opts.Fronts = append(opts.Fronts, p)
		}
	default:
		opts.Log = layout.InPostgres
		var p front.Place
		if p, err = pglog.Open(ctx, pglog.Options{DSN: where}); err == nil {
			opts.Fronts = append(opts.Fronts, p)
		}
	}
	if err != nil {
		return nil, err
	}
	return s3storage.Open(ctx, opts)
}

// commitForever commits transactions, numbered from 1, and says which are durable.
func commitForever(bucket, where string) error {
	ctx := context.Background()
	e, err := openKilled(ctx, bucket, where, false)
	if err != nil {
		return err
	}
	for range 100 { // more than a round needs; what waits is moved one by one
		head, _ := e.Head()
		t := &txnlog.Txn{TID: head + 1, Status: ' ', Records: []txnlog.Record{{OID: zodb.OID(head) + 1, Data: storagetest.Object(int(head) + 1)}}}
		if _, err := e.Append(ctx, []*txnlog.Txn{t}, nil); err != nil {
			return err
		}
		fmt.Println("durable", uint64(t.TID))
	}
	select {}
}

// TestKilled kills a process that commits, between the front and the bucket, again and again: what it
// has called durable is there when the next one begins, and the bucket alone is always a beginning
// of that.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	for name, where := range map[string]func() string{
		"s3": func() string { return "" }, "local": t.TempDir, "postgres": func() string { return testpg.Database(t) },
	} {
		t.Run(name, func(t *testing.T) { killed(t, t.TempDir(), where()) })
	}
}

func killed(t *testing.T, bucket, where string) {
	durable := uint64(0)
	for round := range 4 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childBucket+"="+bucket, childFront+"="+where)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if _, err := fmt.Sscanf(lines.Text(), "durable %d", &durable); err != nil {
				t.Errorf("round %d: %s", round, lines.Text())
			}
			if n == 10+17*round {
				child.Process.Kill()
			}
		}
		child.Wait()
		wholeUpTo(t, bucket, where, true, 0)
		wholeUpTo(t, bucket, where, false, durable)
		wholeUpTo(t, bucket, where, true, durable) // what was left has been moved
	}
}

// wholeUpTo checks that a database has the transactions from the first on, at least up to one.
func wholeUpTo(t *testing.T, bucket, where string, readOnly bool, least uint64) {
	t.Helper()
	e, err := openKilled(t.Context(), bucket, where, readOnly)
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for x, err := range e.Scan(t.Context(), 0, store.Forward) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if x.TID != zodb.TID(n) || string(x.Records[0].Data) != string(storagetest.Object(int(n))) {
			t.Fatalf("transaction %v in the place of %d", x.TID, n)
		}
	}
	if n < least {
		t.Errorf("read-only %v: %d transactions, and %d were durable", readOnly, n, least)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
