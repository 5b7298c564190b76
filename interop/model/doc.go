// Package model watches what concurrent ZEO clients see through a real server,
// and reports every step that a correct server cannot take.
//
// # What is observed
//
// A [Runner] starts a server process and a number of raw clients. Each [Actor]
// runs transactions on a few hot objects that all share, and on some of its own:
// snapshot loads, pipelined loads, writes, checks, merges, undo, votes kept
// waiting, aborts, lost connections, slow reading. Every state that an actor
// writes says which object it belongs to, who wrote it and on what revision it
// was based ([State]), and every transaction says in its description what it
// writes and checks ([Label]). So whatever is read can be judged, without trust
// in anything else that the server says.
//
// Each frame goes to the connection's [Session] in the order of its arrival.
// What can be judged at once is; the rest is kept as small facts until the end
// of a window, when all actors pause, and the database itself is iterated: the
// truth ([Txn]) that the facts are then compared with. After that they are
// dropped, so that memory does not grow with the length of the run.
//
// # The view
//
// A connection's view is the tid of the last commit it was told of: what
// register answered, then each invalidation, and each finish reply of its own.
// The rules, with the names that reports give them:
//
//   - order: the view never goes back, and never stands still: a commit is told
//     once, and a finish reply comes after all earlier invalidations and before
//     all later ones.
//   - ahead: no reply shows a revision newer than the view.
//   - behind: no reply shows less than what the view was when the call was sent;
//     a ping waits for all commits that anybody was told of before it; a server
//     that comes back knows all that its clients knew.
//   - stale: a load never says "current" of a revision that was replaced
//     according to an earlier invalidation. A client would keep that for ever.
//   - cache: the cache that Python's client would have built agrees with the
//     truth, for entries closed by an invalidation and for current ones.
//   - snapshot: a load before a tid returns exactly the newest revision before
//     it, and names its true successor.
//   - gap: each connection is told of every commit after it joined, with exactly
//     the objects that changed.
//   - lost-update: each revision is based on the one it replaces.
//   - check: a revision that was checked is the current one when the transaction
//     commits.
//   - real-time: a commit has a larger tid than every commit whose reply was
//     received before its vote was sent; and the history of each object, with
//     conflicts as reads, is linearizable (judged by porcupine).
//   - durable: whatever anybody was told of is in the database, with the same
//     content, also after the server was killed and started again.
//   - ghost: what is in the database was asked for by a client, and finished.
//   - content: a committed transaction holds exactly what was sent.
//   - oids: no oid is handed out twice.
//   - stuck: every call is answered within a bound: the locks of clients that
//     have gone are released.
//   - dropped: the server closes no connection, and answers no call with an
//     error that has no cause.
//
// SIGKILL keeps what a process has written to the page cache, so killing the
// server says nothing about power loss. It does show whether anything was told
// before it was written at all.
//
// # Running
//
// The package's tests build zari, watch it for a while, and then watch builds of
// it with planted bugs (package planted), each of which must be found:
//
//	go test ./interop/model
//	ZARI_OPS=10000000 go test -run TestServer -timeout 5h -v ./interop/model
//	ZARI_SEED=7 ZARI_KILL=0 go test -run TestServer -v ./interop/model
//
// A seed fixes what every client chooses, not how the server meets it, so a
// violation may take several runs of one seed to come again. The trail in its
// report is usually enough.
package model
