// Package faulty puts failures between a storage and its user: errors, delays, and
// answers that get lost, at the n-th call or at those that a rule picks.
//
//	faults := faulty.New()
//	s := faults.Wrap(inner)           // as many storages as there are, one count
//	faults.Set(faulty.Nth(7, faulty.Fault{Err: io.ErrUnexpectedEOF}))
//
// Without a rule it is transparent: it has exactly the abilities of what it wraps.
package faulty
