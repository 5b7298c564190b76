package memcached

import (
	"bytes"
	"testing"

	"github.com/zaridb/zari/zodb"
)

func FuzzDecode(f *testing.F) {
	f.Add(entry{1, 9, 5, []byte("data")}.encode(), uint64(1), uint64(9))
	f.Add(entry{1, 9, 5, nil}.encode(), uint64(1), uint64(8))
	f.Add([]byte("zrc1"), uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, oid, at uint64) {
		e, ok := decode(b, zodb.OID(oid), zodb.TID(at))
		if !ok {
			return
		}
		if e.oid != zodb.OID(oid) || e.at != zodb.TID(at) || e.serial > e.at || !bytes.Equal(e.encode(), b) {
			t.Errorf("%+v", e)
		}
	})
}
