// Package pickle reads and writes Python pickles as plain data. Nothing is ever
// imported, looked up or called: what Python would build with a class or a
// function stays a description of that call.
//
// # The model
//
// [Decode] runs the pickle's stack machine (protocols 0 to 5) and returns a tree
// of Go values:
//
//	Python                     Go
//	None, True, False          nil, bool
//	int                        int64, *big.Int where that is too small
//	float                      float64
//	str                        string (the pickle's UTF-8, lone surrogates included)
//	bytes                      []byte
//	str of Python 2            ByteString: text or bytes, nobody knows
//	bytearray                  *ByteArray (protocol 5; else an Object)
//	tuple                      Tuple
//	list, dict                 *List, *Dict (in order, any keys)
//	set, frozenset             *Set, *FrozenSet (protocol 4; else an Object)
//	class, function            *Global
//	instance                   *Object: what is called, with what, and the state
//	reference by persistent id *Ref
//	entry of copyreg's table   *Ext
//
// The tree keeps identity: what the pickle's memo shares is shared in the tree,
// by pointer, so a tree can be a graph with cycles. Strings, bytes and tuples
// are shared if they begin at the same address and have the same length. [Encode]
// writes sharing back the same way, so that a record which ZODB wrote is
// rewritten byte by byte.
//
// # Records
//
// A ZODB data record is two pickles in a row, class and state, written with one
// memo: the second may refer back into the first. [DecodeRecord] and
// [EncodeRecord] treat them so. [References] and [ClassOf] answer the two
// frequent questions about a record without building a tree.
//
// # Limits
//
// Input is foreign. A pickle of n bytes makes at most n values, and never more
// than the decoder's limit; nothing is allocated on the word of a length field.
// A tree may be as deep as its pickle is long, may be cyclic, and by sharing may
// unfold to more than memory: walk it with a bound, as Encode does.
//
// The opcodes are those of Lib/pickletools.py in CPython; the writer's choices
// (when to memoize, how to batch) follow the C pickler that ZODB uses, zodbpickle.
package pickle
