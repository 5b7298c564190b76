// Package memcached keeps records of a storage in memcached servers, beside other servers
// of the same database that do so.
//
// # What is kept
//
// An entry is a fact that never changes: "of this database, the newest revision of this
// object as of that transaction is this one". The key has the database's UUID, the oid and
// the tid; the value has oid and tid once more, the revision's serial, its data, and a
// checksum. So an entry can be lost, damaged or out of date without any harm: it can only
// not be asked for.
//
// # Which entry is asked for
//
// Which tid to ask about must be known without asking the medium, or nothing is gained. It
// is known as in RelStorage (whose checkpoints these are): servers agree on a checkpoint,
// a transaction, whose tid is kept in memcached too. A [Storage] knows which objects have
// changed after it: from the medium at the start (zodb.Watcher.ChangesSince), by observing it
// from then on. Of an object that has not, the newest revision is the one as of the
// checkpoint; of one that has, the one as of its last change. What is known of changes must
// be complete, and that is all on which it depends that nothing stale is answered: if the
// medium cannot tell what has changed since the checkpoint, there is a new one.
//
// When more objects have changed than are to be remembered, the checkpoint moves. What was
// kept as of the one before is still found, and copied, if the object has not changed in
// between.
//
// Only the newest revisions are kept, not those that open snapshots still see. A pack
// through the wrapper moves the checkpoint, so that what it has removed is not found again.
//
// # Servers that do not answer
//
// An answer is waited for at most [Options].Timeout. After that, and after any other
// error, the server is left alone for [Options].Pause, and then tried by one load. The
// medium answers instead: clients never see an error of memcached. Entries are written beside the
// loads, as fast as the servers take them; what would have to wait is not written.
//
// Whoever can write to the memcached servers can change what clients read. They belong
// into a network of their own, as with RelStorage.
package memcached
