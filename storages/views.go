package storages

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/zaridb/zari/wrapper/before"
	"github.com/zaridb/zari/zodb"
)

// Views finds views of storages by names of the form NAME@INSTANT: what the
// database was like at that instant, as ZODB.DB.open(at=...) has it. A transaction
// that was committed at the very instant is seen.
//
// For what an instant is see [ParseInstant].
type Views struct {
	Storages map[string]zodb.Storage
	Now      func() time.Time
}

// Find tells how the view of a name is opened. The key is the same for all names
// of one instant. Opening it leaves the storage itself alone.
func (v Views) Find(name string) (key string, open func(ctx context.Context) (zodb.Storage, error), err error) {
	i := strings.LastIndexByte(name, '@')
	if i < 0 {
		return "", nil, fmt.Errorf("unknown storage: %s", name)
	}
	base := v.Storages[name[:i]]
	if base == nil {
		return "", nil, fmt.Errorf("unknown storage: %s, of which a view is asked for", name[:i])
	}
	at, err := ParseInstant(name[i+1:], v.Now())
	if err != nil {
		return "", nil, fmt.Errorf("storage %s: %w", name, err)
	}
	if at > max(base.LastTID(), zodb.TIDAt(v.Now())) {
		return "", nil, fmt.Errorf("storage %s: %s lies in the future", name, at.Time().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s@0x%v", name[:i], at), func(ctx context.Context) (zodb.Storage, error) {
		return before.New(ctx, base, before.Options{Before: at + 1, Borrowed: true})
	}, nil
}
