package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	_ "embed"

	"github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/bench/harness"
	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/zodb"
)

//go:embed pack.py
var program string

// result is what one side's pack came to.
type result struct {
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`     // seconds of it
	Serving int64   `json:"serving"` // bytes of memory before
	Peak    int64   `json:"peak"`
	Commits int     `json:"commits"` // meanwhile
	Objects int64   `json:"objects"` // afterwards

	Report *zodb.PackReport `json:"report,omitempty"` // Zari's
}

// above is the memory that the pack took besides that for serving.
func (r *result) above() int64 { return r.Peak - r.Serving }

// runSide runs a side in a process of its own.
func runSide(ctx context.Context, name string, args ...string) (*result, error) {
	out, err := harness.Output(ctx, name, args...)
	if err != nil {
		return nil, err
	}
	r := new(result)
	return r, json.Unmarshal(out, r)
}

// sideCommand makes this program Zari's side: it opens a file, packs it to a time
// beside a writer, and prints a result.
const sideCommand = "zari-side"

func side(ctx context.Context, args []string) error {
	path, blobDir, at := args[0], args[1], args[2]
	seconds, err := strconv.ParseFloat(at, 64)
	if err != nil {
		return err
	}
	where := "file://" + path + "?" + url.Values{"blobstorage_dir": {blobDir}}.Encode()
	s, err := storages.OpenURL(ctx, where, storages.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	packer, ok := zodb.As[zodb.Packer](s)
	if !ok {
		return errors.New("the storage does not pack")
	}
	for range 20 { // serving is more than having opened
		if err := commit(ctx, s); err != nil {
			return err
		}
	}
	debug.FreeOSMemory() // what opening left is not for serving
	r := &result{Report: new(zodb.PackReport)}
	if r.Serving, _, err = bench.Memory(os.Getpid()); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return err // the peak would be that of opening
	}
	stop := startWriter(ctx, s)
	began, cpu := time.Now(), cpuSeconds()
	err = packer.Pack(ctx, time.Unix(0, int64(seconds*1e9)), zodb.PackOptions{Report: r.Report})
	r.Seconds, r.CPU = time.Since(began).Seconds(), cpuSeconds()-cpu
	var writeErr error
	if r.Commits, writeErr = stop(); writeErr != nil {
		err = errors.Join(err, fmt.Errorf("the writer: %w", writeErr))
	}
	if err != nil {
		return err
	}
	if _, r.Peak, err = bench.Memory(os.Getpid()); err != nil {
		return err
	}
	r.Objects, r.Commits = s.Info().Objects, r.Commits+20
	return json.NewEncoder(os.Stdout).Encode(r)
}

// written is the object that the writers write, as pack.py's does.
const written = zodb.OID(2)

// startWriter commits until it is stopped.
func startWriter(ctx context.Context, s zodb.Storage) (stop func() (commits int, err error)) {
	quit, done := make(chan struct{}), make(chan error, 1)
	n := 0
	go func() {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				done <- nil
				return
			case <-ticker.C:
			}
			if err := commit(ctx, s); err != nil {
				done <- err
				return
			}
			n++
		}
	}()
	return func() (int, error) {
		close(quit)
		err := <-done
		return n, err
	}
}

func commit(ctx context.Context, s zodb.Storage) error {
	rec, err := s.LoadBefore(ctx, written, zodb.MaxTID)
	if err != nil {
		return err
	}
	txn, err := s.Begin(ctx, zodb.TxnMeta{Description: []byte("written")})
	if err != nil {
		return err
	}
	defer txn.Abort()
	if err := txn.Store(ctx, written, rec.Serial, rec.Data); err != nil {
		return err
	}
	if _, err := txn.Vote(ctx); err != nil {
		return err
	}
	_, err = txn.Finish(ctx, nil)
	return err
}

// cpuSeconds tells it finer than the hundredths of a second of package bench: small
// packs take few of them.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
