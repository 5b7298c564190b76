// Package filestorage is a store.Engine that keeps its transactions in a Data.fs
// file, as Python's FileStorage does. The two can take turns with the same files;
// a lock file keeps them from writing at the same time. Package datafs has the
// formats.
//
// # The files
//
//	Data.fs             the transactions
//	Data.fs.index       the positions of the newest records, to open quickly;
//	                    rebuilt where it is missing, stale or damaged
//	Data.fs.lock        locked while the storage is open for writing
//	Data.fs.tr0 ...     what was cut off the end of a file after a crash
//	Data.fs.pack        the new file while a pack writes it
//	Data.fs.old         the file as it was before the last pack
//	Data.fs.index.pack  its index
//	Data.fs.packblobs   blobs that the last pack has still to remove
//	Data.fs.zari        identity, tid floor, reserved oids; Python ignores it, and
//	                    its loss costs no data
//
// Data.fs.tmp is Python's; it is left alone.
//
// # Reading
//
// The index is in memory. Loading the current revision of an object is a look
// into it and one read of the file; older revisions are found through the chain
// of previous positions. All headers that are met on the way are checked, and
// what does not fit is a *zodb.CorruptError with its place.
//
// # Writing
//
// A Data.fs has no checksums, so a batch that was torn by a power failure could
// not be told from a whole one after a single fsync. A batch is therefore
// written with its first transaction marked as unfinished, and synced; then the
// mark is removed, and that is synced. Whatever the disk kept of a batch whose
// mark was not removed is cut off when the file is next opened, and kept aside.
//
// While batches follow each other, the second sync of one is the first sync of the
// next: that is written, with its mark, before the mark of the last one is removed.
// See [Storage.Stream].
//
// Nobody finds a transaction before all of that is done: only then it enters the
// index. If a sync fails, the kernel may have dropped the data and will not say
// so again. The file is then closed for writing until Settle has opened it anew
// and made sure of what is there.
//
// # Locks
//
// In this order: packMu (one pack, Close), writeMu (one writer: Append, Settle, the switch of a pack,
// Close), then mu (the index and the variables beside it; held for moments and
// never across I/O). Readers take mu only to look up positions, and hold a
// reference on the file while they read, so that a pack can put another file in
// its place under them.
package filestorage
