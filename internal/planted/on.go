//go:build planted

package planted

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// The bugs; see the package comment. ZARI_PLANTED says which are on.
var (
	PublishBeforeDurable     = chosen["PublishBeforeDurable"]
	CurrentAfterInvalidation = chosen["CurrentAfterInvalidation"]
	FinishReplyLate          = chosen["FinishReplyLate"]
	UnlockBeforeInvalidation = chosen["UnlockBeforeInvalidation"]
	ViewLeak                 = chosen["ViewLeak"]
	LostInvalidation         = chosen["LostInvalidation"]
	LeakLockOnDisconnect     = chosen["LeakLockOnDisconnect"]
	SkipConflictCheck        = chosen["SkipConflictCheck"]
	SkipCheckCurrent         = chosen["SkipCheckCurrent"]
	RegisterGap              = chosen["RegisterGap"]
	OwnCommitFirst           = chosen["OwnCommitFirst"]
	SkipSecondCheck          = chosen["SkipSecondCheck"]
	NoneBeforePublication    = chosen["NoneBeforePublication"]
	CacheKeepsLate           = chosen["CacheKeepsLate"]
	CacheMovesFirst          = chosen["CacheMovesFirst"]
	CacheSharesOld           = chosen["CacheSharesOld"]
)

// Enabled reports whether this build can have bugs at all.
const Enabled = true

// stallTime is long beside a round trip on the loopback, and short beside the
// time a client waits.
const stallTime = 2 * time.Millisecond

// Stall holds a window open: it sleeps on two calls of three, so that runs mix.
func Stall() {
	if stalls.Add(1)%3 != 0 {
		time.Sleep(stallTime)
	}
}

// Seldom reports true once in 50 calls.
func Seldom() bool { return chances.Add(1)%50 == 0 }

var (
	chosen          = choose(os.Getenv("ZARI_PLANTED"))
	stalls, chances atomic.Int64
)

// choose reads a list of names. It panics on a name that is not known: such a
// program must not start.
func choose(list string) map[string]bool {
	on := make(map[string]bool)
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if !slices.Contains(Names(), name) {
			panic(fmt.Sprintf("ZARI_PLANTED: no bug is named %q; known: %s", name, strings.Join(Names(), " ")))
		}
		on[name] = true
	}
	return on
}
