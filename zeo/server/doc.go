// Package server speaks ZEO's protocol to clients and lets them use a
// zodb.Storage.
//
// # Parts
//
//	Server   listens, knows the storages by name, and counts connections.
//	hub      one for each storage: hears of every commit from the storage and
//	         queues it on every connection; keeps the invalidation queue.
//	session  one for each client: reads frames, answers them, and has an outbox.
//	outbox   what is to be sent to a client, and the view: the last tid that was
//	         queued on this connection.
//
// # What a client sees
//
// Python's client keeps a cache that it believes until it is told otherwise, so
// the order of answers and invalidations on a connection is a promise:
//
//   - No answer shows anything newer than the invalidations before it. Every
//     method that reads is bounded by the connection's view.
//   - No "this is current" leaves after the invalidation that ended it. A load
//     looks at the view again when it queues its answer, and is repeated if the
//     object has changed in between.
//   - The answer to a finish stands among the invalidations in the place of its
//     tid. It is queued by the hub, when the storage publishes the transaction.
//   - register, like a ping or lastTransaction, answers with the view, and joins
//     the publication in the same step.
//
// # Goroutines
//
// Each connection has a reader, which also executes what is quick and writes the
// answers out; a writer, which sends what others queue (invalidations); one that
// votes and finishes; and one for each other call that may wait: pack, undo logs,
// blobs.
// A publication only appends to outboxes: a slow or dead client holds nobody up,
// and loses its connection when too much waits for it.
//
// # Lock order
//
// Store's publication, then hub.mu, then outbox.mu, then hub.recentMu.
package server
