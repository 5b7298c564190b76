// Package planted names bugs that can be planted in the server on purpose, to
// prove that the model checker in interop/model finds them, or the one of package
// store where several servers share a medium, or the one of wrapper/cache.
//
// A normal build has none of them: each name below is then the constant false,
// and the compiler drops what stands behind `if planted.X`. A build with
// `-tags planted` reads from the environment variable ZARI_PLANTED, once at
// start, which of them are on: names separated by commas. A name that is not
// known stops the program, so that no test passes because of a misspelling.
//
// A hook does the wrong thing and nothing else. Where the wrong order can only
// be seen during microseconds, the hook calls [Stall] inside the window; where a
// fault at every chance would stop the service instead of corrupting it, the
// hook asks [Seldom].
//
// # The bugs, and where their hooks belong
//
//   - PublishBeforeDurable (store): a batch is published (index, queues, finish
//     replies, LastTID, locks) and only then, after a Stall, given to
//     Engine.Append. Loads of what is not written yet may fail. It shows only
//     when the process is killed.
//   - CurrentAfterInvalidation (zeo/server): the reply to loadBefore is queued
//     without looking whether the view has moved since the record was read
//     (Stall between the two).
//   - FinishReplyLate (zeo/server): the finish reply is queued after Finish has
//     returned (and a Stall), not inside its callback.
//   - UnlockBeforeInvalidation (store): locks are released before the commit is
//     queued for the connections (Stall between the two).
//   - ViewLeak (zeo/server): lastTransaction and loadBefore of the current
//     revision answer from the storage at once, whatever the connection has been
//     told. (In the store a Stall stands between the engine's index and the
//     queues.)
//   - LostInvalidation (zeo/server): Seldom an invalidation is not queued, though
//     the view moves.
//   - LeakLockOnDisconnect (zeo/server): a connection that is lost between vote
//     and finish does not abort its transaction.
//   - SkipConflictCheck (store): Seldom a vote takes a write for current without
//     comparing serials.
//   - SkipCheckCurrent (store): CheckCurrent is accepted without comparing.
//   - RegisterGap (zeo/server): register answers with the last tid, and joins the
//     publication only later (Stall between the two).
//
// And where several servers share a medium:
//
//   - OwnCommitFirst (store): commits of this server are published before those of
//     others that came to be known at the same time, whatever their tids.
//   - SkipSecondCheck (engine/memstorage): a commit does not compare serials once
//     more, though the session that held its locks may be lost.
//   - NoneBeforePublication (store): of a medium that forgets, a load says that a
//     revision is forgotten at once, though the transaction that has overwritten it is
//     not published yet.
//
// And where records are kept in memory (internal/revisions):
//
//   - CacheKeepsLate: the answer of the medium is kept as the current revision, whatever
//     was committed while it was under way (Stall before it is kept).
//   - CacheMovesFirst: the position of the cache moves before the revisions that were
//     replaced are dropped (Stall between the two).
//   - CacheSharesOld: a load takes the answer to the question of another one about the same
//     object, though that asks for another revision.
package planted

import "slices"

// Names returns the name of every bug, in the order of the package comment.
func Names() []string { return slices.Concat(Served(), Shared(), Cached()) }

// Cached returns those of records that are kept in memory.
func Cached() []string { return []string{"CacheKeepsLate", "CacheMovesFirst", "CacheSharesOld"} }

// Shared returns those of several servers that share a medium.
func Shared() []string { return []string{"OwnCommitFirst", "SkipSecondCheck", "NoneBeforePublication"} }

// Served returns those that clients of one server can see.
func Served() []string {
	return []string{
		"PublishBeforeDurable",
		"CurrentAfterInvalidation",
		"FinishReplyLate",
		"UnlockBeforeInvalidation",
		"ViewLeak",
		"LostInvalidation",
		"LeakLockOnDisconnect",
		"SkipConflictCheck",
		"SkipCheckCurrent",
		"RegisterGap",
	}
}
