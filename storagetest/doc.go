// Package storagetest is the contract of zodb.Storage as a test suite. Every
// engine, wrapper and composite passes it, and the client of a server too.
//
// # Joining
//
// A storage joins with a [Harness], which says how to make it, and one call:
//
//	func TestContract(t *testing.T) {
//		storagetest.Run(t, storagetest.Harness{
//			New:  func(t testing.TB) zodb.Storage { ... }, // empty, cleans up by t.Cleanup
//			Caps: []storagetest.Cap{storagetest.CapIterator, storagetest.CapUndoer},
//		})
//	}
//
//	func BenchmarkContract(b *testing.B) { storagetest.Bench(b, harness) }
//
// A group, and a test, is picked by name:
//
//	go test -run 'TestContract/undo/NotUndoable'
//
// # Groups
//
// Groups are named as the test mixins of the Python package ZODB, so that who
// knows those finds the same words here: basic, sync, revision, conflict,
// check_current, undo, pack, iterate, history, restore, append, blob, readonly, persist,
// threads, race. The rest is what this contract adds: caps, context, close,
// buffers, delete, oids, watch, outcome, record_iterator, locks, order, peer,
// crash, fault, history_free.
//
// # Abilities
//
// Caps lists what zodb.As must find in the storage, no more and no less. A test
// that needs an ability the storage neither lists nor has is skipped, and its
// skip names the ability. If Caps and As disagree the test fails: an ability that
// got lost in a wrapper is a bug, not a reason to test less.
//
// A storage that forgets what is overwritten says so in Harness.HistoryFree. Tests that
// need what it has forgotten are skipped, and the group history_free says what it does
// instead.
//
// # What is checked after every test
//
// [Audit] reads the whole storage and compares what its different methods say of
// it. Then the storage is closed, twice, and no goroutine may be left that was
// not there before.
//
// # Other tools
//
// [Metamorphic] runs one generated sequence of operations on several storages,
// whose histories must then be equal. Package faulty puts errors, delays and lost
// answers between a storage and its user. [Object] makes records.
package storagetest
