package harness

import (
	"bufio"
	"encoding/binary"
	"errors"
	"os"
	"time"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// DataFile writes a Data.fs as fast as the disk takes it: without an index, and
// without any look at what is stored. An error is told by Close.
type DataFile struct {
	TID  zodb.TID // of the newest transaction
	Size int64    // of the transactions that are finished, and what is before them

	file  *os.File
	out   *bufio.Writer
	txn   []byte
	place []int64 // of each object's newest record
}

// CreateDataFile creates a file for objects whose oids are less than that many, and
// whose history begins then.
func CreateDataFile(path string, objects int, then time.Time) (*DataFile, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	out.WriteString(datafs.Magic)
	return &DataFile{TID: zodb.TIDAt(then), Size: datafs.MagicSize, file: f, out: out, place: make([]int64, objects)}, nil
}

// Begin begins a transaction, so much later than the one before.
func (f *DataFile) Begin(later time.Duration) {
	f.TID = zodb.NextTID(f.TID.Time().Add(later), f.TID)
	f.txn = datafs.TxnHeader{}.Append(f.txn[:0]) // a place for the one that Finish writes
}

// Store adds a record.
func (f *DataFile) Store(oid zodb.OID, data []byte) {
	h := datafs.DataHeader{OID: oid, TID: f.TID, Txn: f.Size, Prev: f.place[oid], DataLen: int64(len(data))}
	f.place[oid] = f.Size + int64(len(f.txn))
	f.txn = append(h.Append(f.txn), data...)
}

// Finish writes the transaction.
func (f *DataFile) Finish() {
	head := datafs.TxnHeader{TID: f.TID, Status: datafs.Done, Len: int64(len(f.txn))}
	head.Append(f.txn[:0])
	f.txn = binary.BigEndian.AppendUint64(f.txn, uint64(head.Len))
	f.out.Write(f.txn)
	f.Size += head.Size()
}

// Close writes what is still in memory, and closes the file.
func (f *DataFile) Close() error { return errors.Join(f.out.Flush(), f.file.Close()) }
