//go:build !planted

package planted

// The bugs; see the package comment. Without the build tag there are none.
const (
	PublishBeforeDurable     = false
	CurrentAfterInvalidation = false
	FinishReplyLate          = false
	UnlockBeforeInvalidation = false
	ViewLeak                 = false
	LostInvalidation         = false
	LeakLockOnDisconnect     = false
	SkipConflictCheck        = false
	SkipCheckCurrent         = false
	RegisterGap              = false
	OwnCommitFirst           = false
	SkipSecondCheck          = false
	NoneBeforePublication    = false
	CacheKeepsLate           = false
	CacheMovesFirst          = false
	CacheSharesOld           = false
)

// Enabled reports whether this build can have bugs at all.
const Enabled = false

// Stall holds a window open; it does nothing here.
func Stall() {}

// Seldom reports true now and then; here it never does.
func Seldom() bool { return false }
