package memory_test

import (
	"testing"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/front/fronttest"
	"github.com/zaridb/zari/engine/s3storage/front/memory"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
)

func TestContract(t *testing.T) {
	same := func(_ testing.TB, p front.Place) front.Place { return p }
	fronttest.Run(t, fronttest.Harness{
		New:  func(testing.TB) front.Place { return memory.New(layout.OnDisk).Open(fake.New()) },
		Peer: same, Reopen: same,
	})
}
