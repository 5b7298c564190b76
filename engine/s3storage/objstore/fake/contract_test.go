package fake

import (
	"testing"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/objstoretest"
)

func TestContract(t *testing.T) {
	objstoretest.Run(t, objstoretest.Harness{
		New:    func(testing.TB) objstore.Store { return New() },
		Peer:   func(_ testing.TB, s objstore.Store) objstore.Store { return s.(*Store).Bucket().Open("peer") },
		Rounds: 100,
	})
}
