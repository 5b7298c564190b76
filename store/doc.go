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
// # When the medium does not answer
//
// If Append says zodb.ErrCommitUnknown, the transactions of that batch are in
// doubt: their Finish returns that error, votes are refused, loads go on. The
// engine is asked to settle; what turns out to be durable is published then.
package store
