//go:build planted

package s3storage

// Bugs that the model check must find.
var (
	plantedTrustPuts, plantedTrust412, plantedNewBytes, plantedDeleteFirst,
	plantedNoGrace, plantedStaleRuns, plantedReachOver, plantedNoCatchUp,
	plantedTrustMoves, plantedPinsBefore, plantedPinsUnread bool

	planted = map[string]*bool{
		"TrustPuts": &plantedTrustPuts, "Trust412": &plantedTrust412, "NewBytes": &plantedNewBytes,
		"DeleteFirst": &plantedDeleteFirst, "NoGrace": &plantedNoGrace,
		"StaleRuns": &plantedStaleRuns, "ReachOver": &plantedReachOver, "NoCatchUp": &plantedNoCatchUp,
		"TrustMoves": &plantedTrustMoves,
	}
	plantedInBranches = map[string]*bool{
		"PinsBefore": &plantedPinsBefore, "PinsUnread": &plantedPinsUnread,
	}
)
