// Package importing serves a database while it is copied to another place.
//
// # The model
//
// Clients see one database from the first moment on, with its whole history:
//
//	           importing                        done
//	loads  ->  source, journal                  destination
//	writes ->  journal                          destination
//	copy       source, journal -> destination
//
// The source is only read. What clients commit goes into the journal, durably,
// which is laid over the source like changes in a demo storage. Engines append in
// the order of tids, and the source's are older than any new one: so commits cannot
// go to the destination before the last of the source has arrived there.
//
// The copy runs beside the clients, from source and journal as one history, with
// tids, metadata and blobs. The destination is a beginning of that history at all
// times, so the copy is taken up again wherever it was interrupted. When the rest
// is small, new transactions wait for a moment, those that are under way finish,
// the rest is copied, the state file says that the import is done, and from then on
// there is only the destination.
//
// # What can go wrong
//
// A commit that was acknowledged is durable in the journal, and the journal is
// needed until the state file says done, which it does only when the destination
// has everything. So whatever the moment of a crash, one of two things is the whole
// database: source and journal, or the destination; and the state file says which.
//
// Revisions keep their tids, and nothing is committed between the last revision
// that is copied and the first that is written to the destination. So what clients
// have cached stays right, LastTID does not go back, and observers miss nothing.
//
// Undo of what was there before the import, and packing, wait until it is done.
package importing
