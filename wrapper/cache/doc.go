// Package cache keeps the records of a storage in memory, for all clients of a server,
// where a load is a round trip: to a SQL database, to S3.
//
//	<cache>
//	  size 512MB
//	  <relstorage>
//	    ...
//	  </relstorage>
//	</cache>
//
// # What is answered
//
// [New] observes the wrapped storage before anybody else does, so the cache has dropped what
// a commit replaced before anybody is told of it, whoever has committed: this server,
// another one, a RelStorage client. How nothing stale enters beside a commit, what goes
// when memory is full, and how memory is counted, tells package revisions
// (internal/revisions).
//
// Everything else is passed on: transactions, undo logs, histories, iterations, blobs.
// That there is no such object is not kept.
//
// # Packs
//
// A pack removes revisions and objects, and nobody is told of which. One that is made
// through this storage empties the cache when it ends. Of others, made by another server
// or by zodbpack, or by a medium that packs itself, nothing is heard: then
//
//   - a revision that has been replaced is answered from memory for an hour after that, by
//     the time of the database; later the medium is asked;
//   - a current record whose object was removed as garbage is answered until its room is
//     needed, or the server restarts. No reference leads to it. (The caches of ZEO's and
//     RelStorage's clients do the same.)
package cache
