package objstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
)

// ErrNoConditions says that a store does not do what a commit log is built on.
var ErrNoConditions = errors.New("this store ignores the conditions of a Put: two writers could overwrite each other's commits")

// Probe finds out whether the store heeds conditions, also among requests that come
// at the same time. Its objects lie under prefix (which ends with a slash, or is empty)
// and are deleted afterwards. It sends about 20 requests. An error that is not
// ErrNoConditions means that it could not be found out.
func Probe(ctx context.Context, s Store, prefix string) error {
	var err error
	for range 3 { // an answer may be lost: then with a new key
		err = probe(ctx, s, prefix+"probe-"+Nonce())
		if err == nil || errors.Is(err, ErrNoConditions) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// Nonce returns 32 hex digits that nobody else will ever have.
func Nonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func probe(ctx context.Context, s Store, key string) error {
	defer s.Delete(context.WithoutCancel(ctx), key)
	winner, etag, err := probeRace(ctx, s, key)
	if err != nil {
		return err
	}
	if err := refused(s.Put(ctx, key, []byte("later"), IfAbsent)); err != nil {
		return err
	}
	data, _, err := Read(ctx, s, key, Range{})
	if err != nil {
		return err
	}
	if string(data) != winner {
		return fmt.Errorf("%w (what was put by %s was read as %q)", ErrNoConditions, winner, data)
	}
	if err := refused(s.Put(ctx, key, []byte("wrong"), IfMatch(`"00000000000000000000000000000000"`))); err != nil {
		return err
	}
	if _, err := s.Put(ctx, key, []byte("right"), IfMatch(etag)); err != nil {
		return err
	}
	return refused(s.Put(ctx, key, []byte("stale"), IfMatch(etag)))
}

// refused turns the answer to a Put whose condition did not hold into an error.
func refused(_ string, err error) error {
	if err == nil {
		return ErrNoConditions
	}
	if errors.Is(err, ErrExists) {
		return nil
	}
	return err
}

// probeRace lets several create the object at the same time. One must.
func probeRace(ctx context.Context, s Store, key string) (winner, etag string, err error) {
	const racers = 8
	etags, errs := [racers]string{}, [racers]error{}
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() { etags[i], errs[i] = s.Put(ctx, key, fmt.Appendf(nil, "racer %d", i), IfAbsent) })
	}
	wg.Wait()
	winners := 0
	for i, e := range errs {
		switch {
		case e == nil:
			winners++
			winner, etag = fmt.Sprintf("racer %d", i), etags[i]
		case !errors.Is(e, ErrExists) && !errors.Is(e, ErrConflict):
			err = e
		}
	}
	switch {
	case winners > 1:
		return "", "", fmt.Errorf("%w (%d of %d created the same object)", ErrNoConditions, winners, racers)
	case err == nil && winners == 0:
		err = errors.New("none of several could create an object")
	}
	return winner, etag, err
}
