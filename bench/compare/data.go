package main

import (
	"time"

	"github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/bench/harness"
	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// perTxn is how many objects a transaction of a made file has.
const perTxn = 1000

// makeData writes a Data.fs with the objects 1 to n, each of size bytes, as if
// they had been stored in transactions of a thousand, a day before. It has no index.
func makeData(path string, now time.Time, n, size int) error {
	f, err := harness.CreateDataFile(path, n+1, now.Add(-24*time.Hour))
	if err != nil {
		return err
	}
	data := bench.Record(size, 1)
	for from := 1; from <= n; from += perTxn {
		f.Begin(time.Millisecond)
		for oid := from; oid < min(n+1, from+perTxn); oid++ {
			f.Store(zodb.OID(oid), data)
		}
		f.Finish()
	}
	return f.Close()
}

// objectsIn returns how many objects of size bytes make a file of that length.
func objectsIn(length int64, size int) int {
	return int(length / (datafs.DataHeaderSize + int64(size)))
}
