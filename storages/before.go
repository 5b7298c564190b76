package storages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/wrapper/before"
	"github.com/zaridb/zari/zodb"
)

// started is when the process began, or nearly so.
var started = time.Now()

func (o *opener) openBefore(ctx context.Context, c *config.BeforeStorage, blobDir string) (zodb.Storage, error) {
	base, err := o.open(ctx, c.Storage, blobDir)
	if err != nil {
		return nil, err
	}
	s, err := viewOf(ctx, base, c)
	if err != nil {
		return nil, errors.Join(err, base.Close())
	}
	return s, nil
}

func viewOf(ctx context.Context, base zodb.Storage, c *config.BeforeStorage) (zodb.Storage, error) {
	t, err := timeOf(c)
	if err != nil {
		return nil, err
	}
	return before.New(ctx, base, before.Options{Before: zodb.TIDAt(t)})
}

// timeOf returns the time that the section names.
func timeOf(c *config.BeforeStorage) (time.Time, error) {
	switch {
	case c.File != "":
		return timeFrom(c.File)
	case c.Startup:
		return started, nil
	case c.Time.IsZero():
		return time.Now(), nil
	}
	return c.Time, nil
}

// timeFrom reads the time in a file, which is made with the time of now if it is
// not there.
func timeFrom(path string) (time.Time, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		now := time.Now().UTC().Truncate(time.Second)
		return now, os.WriteFile(path, []byte(now.Format("2006-01-02T15:04:05")), 0o644)
	}
	if err != nil {
		return time.Time{}, err
	}
	t, err := config.ParseTime(strings.TrimSpace(string(text)))
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}
