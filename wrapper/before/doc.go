// Package before shows a database as it was before a time.
//
// # The view
//
// A [Storage] is made of a storage and a tid. It has the transactions whose tid is
// smaller, and nothing of the others: loads, histories, iterations, blobs and the
// undo log end there, and a revision that was replaced later is current. It cannot
// be written. It is what zc.beforestorage is in Python, and what
// ZODB.DB.open(before=...) shows; open(at=t) is the view before t+1.
//
// A tid that lies in the future is allowed. The view then goes on to show, and to
// tell its watchers of, what is committed until that time; after it nothing moves
// any more. So a view of just now misses nothing that was being committed.
//
// # What a pack takes away
//
// A pack drops the revisions that nobody sees who looks at or after its time. A
// view of an earlier time would lack them, so New refuses it with [ErrPacked]. A
// view that is open while such a pack is made stays, and says of what is gone that
// there is no such object.
package before
