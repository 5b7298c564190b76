package s3storage_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/front/disklog"
	"github.com/zaridb/zari/engine/s3storage/front/pglog"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/internal/testpg"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// fronted makes places of databases whose log goes on elsewhere.
func fronted(t testing.TB, fronts func(t testing.TB) []front.Place) place {
	return place{objects: inMemory(t), blobs: filepath.Join(t.TempDir(), "blobs"), fronts: fronts}
}

func onDisk(t testing.TB) place {
	dir := t.TempDir()
	return fronted(t, func(t testing.TB) []front.Place {
		p, err := disklog.OpenFS(vfs.NoSync(vfs.OS()), dir)
		if err != nil {
			t.Fatal(err)
		}
		return []front.Place{p}
	})
}

func inPostgres(dsn string) func(t testing.TB) place {
	return func(t testing.TB) place {
		return fronted(t, func(t testing.TB) []front.Place { return []front.Place{pgPlace(t, dsn)} })
	}
}

func pgPlace(t testing.TB, dsn string) front.Place {
	t.Helper()
	p, err := pglog.Open(t.Context(), pglog.Options{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestContractLocalLog(t *testing.T) {
	h := harnessOf(s3storage.Options{Log: layout.OnDisk}, onDisk)
	h.Crash = nil // nobody else can have the directory meanwhile
	storagetest.Run(t, h)
}

func TestContractLocalLogBusy(t *testing.T) {
	opts := busy
	opts.Log = layout.OnDisk
	h := harnessOf(opts, onDisk)
	h.Crash = nil
	storagetest.Run(t, h)
}

// PostgreSQL goes away while commits are made, and comes back: what was acknowledged is there, and
// nothing that was refused; commits go on by themselves.
func TestPostgresGoesAway(t *testing.T) {
	server := testpg.Start(t, testpg.Options{})
	bucket := fake.NewBucket(fake.Options{})
	open := func() zodb.Storage {
		p, err := pglog.Open(t.Context(), pglog.Options{DSN: server.DSN("postgres"), Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		engine, err := s3storage.Open(t.Context(), s3storage.Options{
			Objects: bucket.Open("writer"), Log: layout.InPostgres, Fronts: []front.Place{p}, Doubt: 100 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), engine, store.Options{LockWait: 200 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	var acked, unknown []zodb.OID
	for oid := zodb.OID(1); oid <= 60; oid++ {
		if oid == 20 {
			if err := server.Halt("QUIT"); err != nil {
				t.Fatal(err)
			}
		}
		if oid == 25 {
			if err := server.Run(); err != nil {
				t.Fatal(err)
			}
		}
		switch err := commitOne(t, s, oid, storagetest.ObjectOf(int(oid), 100)); {
		case err == nil:
			acked = append(acked, oid)
		case errors.Is(err, zodb.ErrCommitUnknown):
			unknown = append(unknown, oid)
		}
	}
	if len(acked) < 20 || len(acked) > 58 || acked[len(acked)-1] != 60 {
		t.Errorf("%d of 60 were acknowledged, the last one is %v", len(acked), acked[len(acked)-1])
	}
	for range 2 {
		for oid := zodb.OID(1); oid <= 60; oid++ {
			_, err := s.LoadBefore(t.Context(), oid, zodb.MaxTID)
			_, none := errors.AsType[*zodb.NoObjectError](err)
			if is := slices.Contains(acked, oid); is && err != nil || !is && !none && !slices.Contains(unknown, oid) {
				t.Errorf("object %v, acknowledged %v: %v", oid, is, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// One database in PostgreSQL takes the logs of all.
func TestContractPostgresLog(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	h := harnessOf(s3storage.Options{Log: layout.InPostgres}, inPostgres(testpg.Database(t)))
	h.Patience = 2 * time.Minute
	storagetest.Run(t, h)
}
