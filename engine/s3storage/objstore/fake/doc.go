// Package fake is an object store in memory that fails as tests ask it to.
//
//	bucket := fake.NewBucket(fake.Options{})
//	a, b := bucket.Open("a"), bucket.Open("b") // two clients of one bucket
//	a.SetRule(fake.Nth(3, fake.Fault{Lost: true}))
//
// A bucket is strongly consistent, as S3 is, and counts the operations that arrive. A
// client has a Rule, which is asked before each of its operations what shall go wrong,
// and counts its own requests. Without a rule nothing goes wrong.
//
// Nothing here is left to chance or to the clock: operations of one goroutine, with a
// rule that is a function of them (Random is one, by its seed), always give the same
// history. A rule may block: a test that wants one order of many goroutines' operations
// lets them wait in the rule for their turn.
package fake
