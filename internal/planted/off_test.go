//go:build !planted

package planted

import "testing"

// A hook that a build cannot prove dead would cost the server something.
const none = !PublishBeforeDurable && !CurrentAfterInvalidation && !FinishReplyLate && !UnlockBeforeInvalidation &&
	!ViewLeak && !LostInvalidation && !LeakLockOnDisconnect && !SkipConflictCheck && !SkipCheckCurrent && !RegisterGap &&
	!OwnCommitFirst && !SkipSecondCheck && !NoneBeforePublication &&
	!CacheKeepsLate && !CacheMovesFirst && !CacheSharesOld

func TestNormalBuildHasNone(t *testing.T) {
	if !none || Enabled || Seldom() {
		t.Error("a normal build has bugs planted in it")
	}
}
