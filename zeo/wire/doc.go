// Package wire is the ZEO 5 protocol as bytes: frames, the handshake, messages in
// both encodings, and the table of errors. It opens no connection and knows no
// storage; the server, the client and the tools are written with it.
//
// # Frames
//
// Both directions carry frames: four bytes, big-endian, with the length of what
// follows. [Reader] reads them with a bound. Every Append function of this package
// appends whole frames, header included, so that many can go out in one write.
//
// # Handshake
//
// The server speaks first: "Z5" or "M5". The client answers with a frame of the
// same form, and its letter decides the encoding: Z for pickle, M for msgpack. A
// client that sends "ruok" instead wants one frame of JSON and no more.
//
// # Messages
//
// Every further frame is a tuple of four: id, flag, name, args.
//
//	call              id n or (oid, tid)   False   method     arguments
//	one-way call      id 0                 True    method     arguments
//	reply             id of the call       0       ".reply"   result
//	error             id of the call       2       ".reply"   (class name, args or attributes)
//	callback          id 0                 True    callback   arguments
//	heartbeat         id -1                0       ".reply"   None
//
// An id is echoed as it came, so [Message] keeps its bytes ([RawID]).
//
// Bytes and text are different things on the wire: oids, tids, data, user and
// description are bytes; names, statuses and the keys of dicts are text. In Go
// they are []byte and string.
//
// # Speed
//
// [Codec.Parse] reads what the clients really send, arguments that are plain
// scalars, straight from the frame and builds nothing. Whatever does not look so
// goes through the full pickle reader. Replies to the frequent calls have Append
// functions of their own, which allocate nothing but room in dst.
//
// # Safety
//
// A pickle can name any function and have it called; Python's own server falls
// for that. Here a message that names anything but two harmless classes and a
// few builtin containers is an error, nothing is ever called, and size, depth and
// number of values are bounded.
//
// Source: ZEO/asyncio/{smp,base,marshal,server,client}.py of ZEO 6.
package wire
