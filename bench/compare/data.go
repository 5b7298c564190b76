package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"os"
	"time"

	"github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// perTxn is how many objects a transaction of a made file has.
const perTxn = 1000

// makeData writes a Data.fs with the objects 1 to n, each of size bytes, as if
// they had been stored in transactions of a thousand. It has no index.
func makeData(path string, n, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.WriteString(datafs.Magic); err != nil {
		return err
	}
	pos, data := int64(datafs.MagicSize), bench.Record(size, 1)
	tid := zodb.TIDAt(time.Now().Add(-24 * time.Hour))
	var txn []byte
	for from := 1; from <= n; from += perTxn {
		txn = appendTxn(txn[:0], pos, tid, from, min(n+1, from+perTxn), data)
		if _, err := w.Write(txn); err != nil {
			return err
		}
		pos += int64(len(txn))
		tid = zodb.NextTID(tid.Time().Add(time.Millisecond), tid)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// appendTxn appends a transaction at pos with the objects from <= oid < to.
func appendTxn(dst []byte, pos int64, tid zodb.TID, from, to int, data []byte) []byte {
	record := datafs.DataHeader{TID: tid, Txn: pos, DataLen: int64(len(data))}
	head := datafs.TxnHeader{TID: tid, Status: datafs.Done}
	head.Len = head.HeaderLen() + int64(to-from)*record.Len()
	dst = head.Append(dst)
	for oid := from; oid < to; oid++ {
		record.OID = zodb.OID(oid)
		dst = append(record.Append(dst), data...)
	}
	return binary.BigEndian.AppendUint64(dst, uint64(head.Len))
}

// objectsIn returns how many objects of size bytes make a file of that length.
func objectsIn(length int64, size int) int {
	return int(length / (datafs.DataHeaderSize + int64(size)))
}

func copyFile(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return dst.Close()
}
