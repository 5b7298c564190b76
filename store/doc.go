// Package store is the commit pipeline: it makes a zodb.Storage of an [Engine].
//
// # One transaction's way
//
//	Begin   buffers writes, in memory and past a size in a spool file.
//	Vote    queues for the locks of all its objects at once, and holds nothing
//	        while it waits. With the locks it compares serials, merges or reports
//	        conflicts, works out undos, and reserves space.
//	Finish  hands the transaction to the appender.
//	append  The appender takes all transactions that wait, gives them tids in
//	        order, and makes them durable with ONE Engine.Append.
//	publish Then the gate is asked, and the publisher goes through the batch in
//	        tid order: loads may see the transaction; observers are told (a server
//	        queues the reply and the invalidations there); LastTID moves; locks are
//	        freed; Finish returns.
//
// While one batch is published or waits at the gate the next is appended.
//
// # Locks
//
// Objects are locked, not the storage: a write exclusively, a CheckCurrent
// shared. Requests are served first come first served. Since a request enters the
// queues of all its objects in one step, two voters can never wait for each other.
// Every ordinary vote also shares one lock that a transaction with a given tid
// (restore, copy) takes exclusively, so that tids stay in order. Many of those are
// committed with Store.Append, which takes the lock, votes and appends once for all.
//
// # What loads see
//
// An engine shows a transaction once it is durable, a Store once it is published:
// every load is bounded by the last published tid.
//
// # Media that forget
//
// A [HistoryFree] medium has only the newest record of each object. For the snapshots
// that clients have open the vote reads the states that will be overwritten, and they
// enter a window of recent revisions before the append; if that fails they leave it.
// A load asks the medium first, and then the window, so that there is no moment at
// which neither has the revision. The window is bounded by bytes and by age
// ([Options]). What is in neither is "no revision before", which a ZEO client hears as
// None and answers by trying again with a newer snapshot. That is only said once the
// transaction that overwrote the revision is published: else the client would try again
// with the same one.
//
// What a Store offers is less then: no undo, one revision of history, and transactions
// made up of the records that are left, read as of one moment, whose last transactions
// are waited for if they are yet to be published. ChangesSince is complete: whatever was
// overwritten is listed where it was written last.
//
// # Media that others write to
//
// Where a [Follower] says that others write to the medium too, the lock table here is
// only the first: a vote then locks its objects in the medium ([Locker]), and goes by
// the serials that are read under those locks. Before it compares them it waits until
// the transactions that they name are published here, so that whatever it says, of a
// conflict say, can be looked up, and a client that tries again finds a newer snapshot.
//
//	Finish  is Lock.Commit, in the goroutine of the caller: the medium compares the
//	        serials once more, gives the tid, and makes the transaction durable.
//	round   The follower asks for all changes after the last published one. It waits
//	        for commits that are still in flight if the changes touch what they write:
//	        they may be among them. Then it publishes the changes of others and the
//	        commits of this Store in tid order.
//
// Nothing else publishes: a commit whose tid is known waits for the round that began
// after it. So no client sees a transaction of this Store before an older one of
// another, and each is told of all of them in order.
//
// In a medium that forgets, a change of others may not name what a later one has changed
// as well; so all of them between two commits of this Store are published as one. The
// window only has what this Store has overwritten. For the rest the medium may keep old
// states itself, or the answer is "no revision before".
//
// A medium that has gone back behind what was published has lost commits, as a standby
// may that was promoted: the Store refuses all votes from then on.
//
// # When the medium does not answer
//
// If Append says zodb.ErrCommitUnknown, the transactions of that batch are in
// doubt: their Finish returns that error, votes wait, as long as they wait for locks,
// and loads go on. The engine is asked to settle; what turns out to be durable is
// published then. Where others write too it is Lock.Settle that is asked.
package store
