// Package objstoretest is the contract of objstore.Store as a test suite.
//
// A new implementation joins with a test like this one, and Run finds what it
// gets wrong:
//
//	func TestContract(t *testing.T) {
//		objstoretest.Run(t, objstoretest.Harness{
//			New: func(t testing.TB) objstore.Store { return mystore.New(t.TempDir()) },
//		})
//	}
//
// The subtests are the groups of the contract: put, conditions, race, swap, overwrite,
// range, absent, list, file, keys, context, close, counts, probe.
package objstoretest
