// Package revisions keeps revisions of objects in bounded memory, for storages to
// which a load is a round trip.
//
// # The position
//
// A [Cache] stands at a position: every change up to it has been taken into account,
// and none after it is shown. Whatever it answers is as of the position at the moment
// of the question, be it from memory or from the [Source], which is asked for the newest
// revision before the position + 1. So an answer is true however late it comes, and one
// reader's answers never go back. [Cache.Change] moves the position; the storage that uses
// the cache calls it before it tells anybody else of the change.
//
// # What is kept
//
// Of a revision two things may be known: when it was replaced, which is true for good;
// or that it was the newest one as of some tid. The second kind must go when the object
// changes, and this is how it does:
//
//   - A change first raises `begun`, then goes through its objects, then moves the
//     position. Of each object it drops the revision that was the newest, and tells the
//     fetches of the object that are under way.
//   - A fetch notes `begun` when it starts. Its answer is kept as the newest revision only
//     if it is as of every change that had begun by then, and of every change that it was
//     told of. A fetch that was under way while an object changed may so have asked
//     in vain, but nothing stale enters.
//
// A change that stands for a gap (zodb.Missed), and Clear, void the fetches under way.
//
// That there is no revision is not kept.
//
// # What has to go
//
// The cache is S3-FIFO ("FIFO queues are all you need for cache eviction", SOSP 2023). What
// comes in stands in a short queue, and if nobody has asked for it again when it comes
// out at the other end, it goes: a scan through the database costs a tenth of the memory.
// What was asked for again moves to the main queue, from whose end it moves to the front
// again as often as it has been used, at most three times. What has left the short queue is
// remembered for a while, a few bytes for each, and goes to the main queue when it comes
// again.
//
// # Memory
//
// The limit counts everything that the cache takes: the data as the allocator rounds
// them up, what a revision takes besides, and what is remembered. (Go's collector lets
// the process grow to about twice of what is live before it collects.) It is divided
// evenly between shards, so that readers on several processors do not wait for each other.
// A revision larger than an eighth of a shard is not kept.
package revisions
