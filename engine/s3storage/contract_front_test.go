package s3storage_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/front/disklog"
	"github.com/zaridb/zari/engine/s3storage/front/pglog"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/internal/testpg"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest"
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

// One database in PostgreSQL takes the logs of all.
func TestContractPostgresLog(t *testing.T) {
	h := harnessOf(s3storage.Options{Log: layout.InPostgres}, inPostgres(testpg.Database(t)))
	h.Patience = 2 * time.Minute
	storagetest.Run(t, h)
}
