// Package resolve merges conflicting writes of one object, as the object's class
// would in Python, without running Python.
//
// # The model
//
// A conflict is three records of one object: base, which the transaction has
// read; committed, which another transaction has made of it since; and wanted,
// which this transaction has made of it. ZODB asks the class, by its method
// _p_resolveConflict, for a state that has both changes. Most conflicts of real
// applications are between the classes of a handful of packages, whose methods
// look at plain data only. Those are written here again, over the trees of
// package zodb/pickle:
//
//	BTrees        all families: Bucket, Set, and BTree and TreeSet that have
//	              one bucket (BTreeTemplate.c, BucketTemplate.c, MergeTemplate.c)
//	BTrees.Length the counters of catalogs, indexes and large folders
//	zope.minmax, nti.zodb.minmax, zc.queue, Products.Transience
//
// # What is merged, and what is not
//
// A merge happens only if it is certain that Python, with the application's
// classes at hand, makes the same state of it. Whatever depends on code that is
// not known here is refused: a refusal costs a round trip, for the client merges
// with its own classes then, but a wrong merge would cost data.
//
// What is certain is the order and equality of None, bool, int, float, str,
// bytes, date, datetime within one time zone, Zope's DateTime, and tuples and
// lists of these; the equality of dicts and sets of them where Python asks for no
// more; and what ZODB.ConflictResolution.PersistentReference says of references:
// equal if object and database are, an error otherwise.
//
// Python's C code converts what it loads into C types, and gives back what it
// converted. So does this package: True in an IOBTree becomes 1, and a double in
// an IFBTree a float.
//
// # Records
//
// Input may be compressed as zc.zlibstorage does it, ".z" and a zlib stream.
// Output is a plain record of protocol 3, with the class as it stands in wanted,
// as ZODB.ConflictResolution.tryToResolveConflict writes it.
//
// Input is foreign. Records are bounded in size and values, comparisons in depth
// and number.
package resolve
