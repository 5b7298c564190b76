package main

import (
	"context"
	"fmt"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/delay"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
)

// toy makes the requests that the toy makes for the load, without its lock: its commits
// would follow one after the other, and not reach most rates.
func (b *bench) toy(ctx context.Context, l load) (result, error) {
	base := fake.New()
	slow := delay.New(base, delay.S3(b.seed))
	r, err := b.each(l, func(i int) error {
		return requestsOfToy(ctx, slow, fmt.Sprintf("%08d", i), l.objects, b.object())
	})
	r.counts = base.Counts()
	return r, err
}

// requestsOfToy makes the 2k+3 PUTs and k+2 LISTs of a commit of k objects. (From
// store, vote and finish in storage.py and s3stuff.py of lrowe/s3storage.)
func requestsOfToy(ctx context.Context, s objstore.Store, name string, k int, data []byte) error {
	list := func(prefix string) error {
		for _, err := range s.List(ctx, prefix+name, "") {
			if err != nil {
				return err
			}
		}
		return nil
	}
	put := func(key string, body []byte) error {
		_, err := s.Put(ctx, key+name, body, objstore.Always)
		return err
	}
	for i := range k {
		if err := list("index_oid/"); err != nil {
			return err
		}
		if err := put(fmt.Sprintf("record/%d-", i), data); err != nil {
			return err
		}
	}
	for range 2 {
		if err := list("log/"); err != nil {
			return err
		}
	}
	if err := put("transaction/", data[:min(len(data), 200)]); err != nil {
		return err
	}
	for i := range k {
		if err := put(fmt.Sprintf("index_oid/%d-", i), nil); err != nil {
			return err
		}
	}
	if err := put("index_tid/", nil); err != nil {
		return err
	}
	return put("index_serial/", nil)
}
