// Package blobs keeps blob files in a directory, as Python's ZODB lays it out.
//
// # The model
//
// A blob is a file that belongs to one revision of one object, and so is named
// by an oid and a tid. A [Dir] holds the blobs of one database:
//
//	blobs/.layout                                        the word "bushy" or "lawn"
//	blobs/tmp/                                           files on their way in
//	blobs/0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x2a/       bushy: a level for each byte of oid 42
//	blobs/0x2a/                                          lawn: a folder for each oid
//	  0x03d5a1b2c3d4e5f6.blob                            the revision that this tid wrote
//
// Numbers are lower-case hexadecimal with an even number of digits and, except
// for the levels of a bushy path, without leading zeros. A file with any other
// name (the ".tmp" files of a client that shares the directory, for one) is
// nobody's blob, and is left alone.
//
// A blob is staged in [Dir.TempDir], and [Dir.Place] moves it into its final
// place durably; from then on it is never written again, and is read by its path.
//
// # Permissions
//
// Directories are made with mode 0777 less the process's umask: who may read the
// database's blobs is decided by the umask and by the mode of the top directory,
// which is left as it is. A placed file is not writable by anybody, and readable
// by those who may read the directory that it lies in.
//
// The source of all this is the class FilesystemHelper in ZODB/blob.py.
package blobs
