// Package client is a zodb.Storage over the storage of a ZEO server, Python's or
// Zari's. A server over it fans out; tools over it work on a live database.
//
// # Parts
//
//	Storage   what callers have. Its abilities are those that the server's storage
//	          has and the protocol can carry.
//	session   the time with one server. When its main connection is lost, the
//	          storage looks for a server again, at each of its addresses in turn.
//	conn      one connection: calls, answers, and what the server says unasked.
//	cache     revisions in memory, shared by all readers: see internal/revisions.
//	txn       a transaction, on a connection of its own until it ends.
//
// # Order
//
// The main connection alone decides in which order commits are told: own ones too
// are published when the server tells the main connection of them, because the
// protocol has one transaction at a time on a connection, and servers do not order
// what they say on different ones. A commit's Finish therefore waits for two
// messages: the answer, which has the tid, and the invalidation. Which of the two
// comes first does not matter: while the server has not answered a finish, a
// change of its objects waits for the answer; no other does.
//
// Python's server lets answers overtake invalidations. So a load never asks for the
// current revision, but for the newest one before the position + 1; what the answer
// says of later times is not shown before it is told. A vote that meets a newer
// revision returns when that is told.
//
// # After a lost connection
//
// Reads are asked again, on the next session. Writes fail with ErrDisconnected; a
// finish whose answer is lost is looked up by its token where the server is Zari's,
// and is zodb.ErrCommitUnknown otherwise. What was committed meanwhile is told as
// one change, marked as [zodb.Missed]: its objects if the server knows them, else
// that anything may have changed. A server over this storage then closes its
// clients' connections, and they verify their caches when they come back. A server
// whose last transaction is older than one seen before is refused: *BehindError.
//
// # Goroutines
//
// One connects and publishes; each connection has a reader and a writer. Close ends
// them all.
//
// Source: ZEO/ClientStorage.py and ZEO/asyncio/client.py of ZEO 6.
package client
