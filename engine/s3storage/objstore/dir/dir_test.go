package dir

import (
	"testing"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/objstoretest"
)

func TestContract(t *testing.T) {
	objstoretest.Run(t, objstoretest.Harness{
		New: func(t testing.TB) objstore.Store {
			s, err := Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Peer: func(t testing.TB, s objstore.Store) objstore.Store {
			peer, err := Open(s.(*Store).root)
			if err != nil {
				t.Fatal(err)
			}
			return peer
		},
	})
}
