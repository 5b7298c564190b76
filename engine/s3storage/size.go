package s3storage

import (
	"fmt"

	"github.com/zaridb/zari/txnlog"
)

// maxBatch is how many bytes share an object of the log, if they are not of one transaction:
// a PUT that fails is sent again, and everybody waits for it.
const maxBatch = 64 << 20

// maxObject bounds the transactions in an object of the log. The format could have 4 GiB,
// and so could a PUT; but an object is in memory as a whole here and wherever it is read,
// several times while it is written. A front may take less.
func (e *Engine) maxObject() int {
	size := min(e.opts.MaxTransaction, formatMax)
	if p := e.place(e.opts.Log); p != nil {
		size = min(size, p.MaxObject()-besideRecords)
	}
	return int(size)
}

// besideRecords is more than what an object of the log has beside records; of a very large
// batch its table is a small part.
const besideRecords = 1 << 20

// formatMax follows from offsets of 32 bits.
const formatMax = 1<<32 - 1<<20

func encodedLen(t *txnlog.Txn) int {
	size := t.HeadLen()
	for i := range t.Records {
		size += t.Records[i].EncodedLen()
	}
	return size
}

// together returns how many transactions, from the first, go into the next object of the log.
func (e *Engine) together(batch []*txnlog.Txn) int {
	n, size := 0, 0
	for n < len(batch) {
		size += encodedLen(batch[n])
		if n > 0 && size > min(maxBatch, e.maxObject()) {
			break
		}
		n++
	}
	return n
}

// checkSize refuses a transaction at its vote that no object of the log could hold.
func (e *Engine) checkSize(t *txnlog.Txn) error {
	size := encodedLen(t)
	if size <= e.maxObject() {
		return nil
	}
	return fmt.Errorf("a transaction of %d bytes is too large for one object of the log, which has at most %d: "+
		"commit in smaller steps, put large values into blobs, or raise max-transaction", size, e.maxObject())
}
