// Package blockcache keeps parts of immutable objects on a local disk, and the newest
// of them in memory.
//
//	cache, err := blockcache.Open(objstore.NewHedger(store), blockcache.Options{
//		Dir: "/var/cache/zari", MaxBytes: 10 << 30, Memory: 64 << 20, Space: uuid,
//	})
//	data, err := cache.Read(ctx, "seg/0f/01J...", objstore.Range{Off: 1 << 20, Len: 64 << 10})
//
// A block is a range of an object. What is not in the cache is one Get, whoever asks
// for it and how many ask at the same time. Since an object is never another under the
// same key, a block is never stale, and nothing is ever invalidated. For the few keys
// whose bytes do change, and for those that may come back with other bytes after a
// delete, the cache is not to be used.
//
// # The directory
//
// Each block is a file whose name is a hash of its space, key and range. It says so
// itself, and has a checksum over everything: what is torn (nothing is synced, so a loss
// of power tears much), cut, changed, or another block's, is not served but removed.
// Files appear whole, by rename. Of a file that this process has written, or has checked
// once, parts are read without the checksum, as long as its size and time stay, which are
// looked at every second: a small record does not cost a whole block. Files that are read
// from again and again stay open.
//
// So several processes can share a directory, it survives restarts, and all or any of it
// can be deleted at any time, also while servers run. A disk that is full or broken
// makes the cache useless for a while, and nothing else.
//
// # The bound
//
// MaxBytes bounds what lies in the directory, give or take a sixteenth for each process:
// files are counted, and the least recently used removed, each time that so much has
// been added. When a file was last used is its modification time, which a hit brings up
// to date if it is older than ten minutes. With many files that is done for one
// part of the directory at a time. Who asks for [Cache.Stats] has the parts counted, too, to
// which nothing has been added yet.
//
// # The file
//
// All numbers are big-endian.
//
//	offset  size  what
//	0       4     "ZBC1"
//	4       8     xxHash64 of everything behind it
//	12      2     length of the name, N
//	14      4     length of the data
//	18      N     name: space, key, offset and length, with zero bytes between
//	18+N          data
package blockcache
