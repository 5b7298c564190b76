//go:build planted

package s3storage

import (
	"os"
	"testing"
)

// The model check finds every bug that is planted.
func TestModelFindsPlantedBugs(t *testing.T) {
	const seeds = 40
	for name, bug := range planted {
		if only := os.Getenv("ZARI_S3_BUG"); only != "" && only != name {
			continue
		}
		*bug = true
		found := error(nil)
		seed := uint64(0)
		for seed < seeds && found == nil {
			seed++
			kind := modelBucket
			if name == "TrustMoves" {
				kind = modelForks
			}
			m := newModel(kind, seed)
			m.run(modelRound)
			for _, a := range m.actors {
				a.stop()
			}
			if m.failure == nil {
				m.last()
			}
			found = m.failure
		}
		*bug = false
		if found == nil {
			t.Errorf("%s: not found with %d seeds", name, seeds)
			continue
		}
		t.Logf("%s: found with seed %d: %v", name, seed, found)
	}
}

// A branch that is not pinned as it must be is found out.
func TestPlantedBugsInBranches(t *testing.T) {
	for name, bug := range plantedInBranches {
		*bug = true
		_, _, err := pinAtEveryMoment()
		*bug = false
		if err == nil {
			t.Errorf("%s: not found", name)
		}
		t.Logf("%s: %v", name, err)
	}
}
