package storages

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/front/disklog"
	"github.com/zaridb/zari/engine/s3storage/front/pglog"
	"github.com/zaridb/zari/engine/s3storage/layout"
)

// s3Log says where the log of a database in a bucket is written; "" is what is not said.
type s3Log struct{ kind, dsn, dir, abandon string }

// or takes from the configuration what the URL does not say.
func (x s3Log) or(c *config.S3Storage) s3Log {
	return s3Log{cmp.Or(x.kind, c.Log), cmp.Or(x.dsn, c.LogDSN), cmp.Or(x.dir, c.LogDir), cmp.Or(x.abandon, c.LogAbandon)}
}

// open opens the places that a writer is told of: the one where commits go, and one where they went
// before. Who only reads follows the bucket.
func (x s3Log) open(ctx context.Context, opts *s3storage.Options) error {
	switch {
	case x.kind == "postgres" && x.dsn == "":
		return errors.New("log postgres needs log-dsn")
	case x.kind == "local" && x.dir == "":
		return errors.New("log local needs log-dir")
	case opts.ReadOnly:
		return nil
	}
	opts.Log = map[string]layout.FrontKind{"s3": layout.InBucket, "postgres": layout.InPostgres, "local": layout.OnDisk}[x.kind]
	if x.abandon != "" {
		if _, err := hex.Decode(opts.Abandon[:], []byte(x.abandon)); err != nil {
			return err
		}
	}
	var err error
	if opts.Fronts, err = x.places(ctx); err != nil {
		for _, p := range opts.Fronts {
			err = errors.Join(err, p.Close())
		}
	}
	return err
}

func (x s3Log) places(ctx context.Context) (places []front.Place, err error) {
	if x.dsn != "" {
		p, err := pglog.Open(ctx, pglog.Options{DSN: x.dsn})
		if err != nil {
			return places, err
		}
		places = append(places, p)
	}
	if x.dir != "" {
		p, err := disklog.Open(x.dir)
		if err != nil {
			return places, err
		}
		places = append(places, p)
	}
	return places, nil
}
