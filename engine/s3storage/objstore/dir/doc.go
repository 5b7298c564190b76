// Package dir keeps objects as files of a directory: the object log/7 is the file
// log/7 below it. So a database that is made for a bucket can lie on a local disk or a
// file server, and any tool can look at it and copy it.
//
// # Files
//
// A file appears with all of its bytes or not at all, is never written again (its mode
// says so: it is read-only), and is replaced by another file as a whole. A copy made
// with rsync while the directory is in use therefore has no half of anything; it may
// lack a file that came later than another one that it has, as a list of a bucket may.
//
// Below the directory .tmp are files on their way. What a killed process left there
// is removed by Open after a day. The file .lock is locked (flock) for the moment in
// which a file is replaced or removed. Both may be left out of a copy.
//
// # Durability
//
// Put writes and syncs a file without a name in the place, then gives it its name:
// with link(2) for IfAbsent, which succeeds for one of all who try, also on NFS; with
// rename(2) otherwise. Then it syncs the directory, and every directory that it made.
// After a sync of a directory has failed nobody can know what would survive a loss of
// power: from then on the Store refuses everything, until it is opened again.
//
// # Etags
//
// The etag of a file up to 64 KiB is the hash of its bytes, as in a bucket. That of a
// larger one is its size and time: what is as large is not told apart if it was
// replaced within one tick of the file system's clock. Conditions are for small
// objects.
package dir
