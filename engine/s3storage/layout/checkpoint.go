package layout

import (
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// Checkpoint is everything that follows from the log up to a slot.
//
//	0    8   "ZARI-CKP"
//	8    1   version, 1
//	9    16  id of the database
//	25   16  id of the checkpoint
//	41   8   slot
//	49   8   epoch
//	57   32  SHA-256 of the log object in that slot
//	89   8   tid of the last transaction
//	97   8   largest oid in use
//	105  40  the Meta
//	145  8   transactions up to this tid are packed
//	153      number of runs: uvarint; of each: id 16, tids after 8 up to 8, entries 8, size 8
//	         number of segments: uvarint; each: see Segment
//	         number of log objects that hold transactions: uvarint; of each:
//	           slot 8, first tid 8, last tid 8, size 8, where transactions begin 4,
//	           length of the table 4, number of transactions 4
//	         number of Replaced: uvarint; of each: up to slot 8, since slot 8
//	         number of Garbage: uvarint; of each: key: bytes, since slot 8
//	         slot of a Collect that is not Collected yet 8, 0: there is none; what it
//	           says: floor 8, number of keys: uvarint, each: bytes
//	         where the log goes on: see Front
//	         where the log goes on: see Front
//	-4   4   CRC-32C of everything before it
type Checkpoint struct {
	Database ID
	ID       ID
	Slot     uint64
	Epoch    uint64
	Hash     Hash
	LastTID  zodb.TID
	MaxOID   zodb.OID
	Meta     store.Meta
	PackedTo zodb.TID

	Runs     []RunInfo  // by tid
	Segments []Segment  // by tid
	Logs     []LogInfo  // by slot
	Replaced []Replaced // by slot
	Garbage  []Garbage

	Collecting     CollectRecord
	CollectingSlot uint64

	Front Front
}

// RunInfo describes a run of the index: it has all revisions written by the
// transactions after one tid up to another one.
type RunInfo struct {
	ID          ID
	After, UpTo zodb.TID
	Entries     int64
	Size        int64
}

// LogInfo describes a log object that holds transactions.
type LogInfo struct {
	Slot        uint64
	First, Last zodb.TID
	Size        int64
	Body        int64 // where the transactions begin
	TableLen    int
	Txns        int
}

// Replaced says that no slot below UpTo holds transactions since slot Since.
type Replaced struct{ UpTo, Since uint64 }

// Garbage is an object that is not used since slot Since.
type Garbage struct {
	Key   string
	Since uint64
}

const (
	checkpointMagic = "ZARI-CKP"

	runInfoLen  = 16 + 8 + 8 + 8 + 8
	logInfoLen  = 8 + 8 + 8 + 8 + 4 + 4 + 4
	replacedLen = 8 + 8
	garbageLen  = 1 + 8
)

// Encode returns the object.
func (c *Checkpoint) Encode() []byte {
	b := begin(checkpointMagic)
	b = append(b, c.Database[:]...)
	b = append(b, c.ID[:]...)
	b = putUint64(b, c.Slot)
	b = putUint64(b, c.Epoch)
	b = append(b, c.Hash[:]...)
	b = putUint64(b, uint64(c.LastTID))
	b = putUint64(b, uint64(c.MaxOID))
	b = putMeta(b, &c.Meta)
	b = putUint64(b, uint64(c.PackedTo))
	b = putUvarint(b, uint64(len(c.Runs)))
	for _, x := range c.Runs {
		b = append(b, x.ID[:]...)
		b = putUint64(b, uint64(x.After))
		b = putUint64(b, uint64(x.UpTo))
		b = putUint64(b, uint64(x.Entries))
		b = putUint64(b, uint64(x.Size))
	}
	b = putUvarint(b, uint64(len(c.Segments)))
	for i := range c.Segments {
		b = c.Segments[i].append(b)
	}
	b = putUvarint(b, uint64(len(c.Logs)))
	for _, x := range c.Logs {
		b = putUint64(b, x.Slot)
		b = putUint64(b, uint64(x.First))
		b = putUint64(b, uint64(x.Last))
		b = putUint64(b, uint64(x.Size))
		b = putUint32(b, uint32(x.Body))
		b = putUint32(b, uint32(x.TableLen))
		b = putUint32(b, uint32(x.Txns))
	}
	return seal(c.appendGarbage(b))
}

func (c *Checkpoint) appendGarbage(b []byte) []byte {
	b = putUvarint(b, uint64(len(c.Replaced)))
	for _, x := range c.Replaced {
		b = putUint64(b, x.UpTo)
		b = putUint64(b, x.Since)
	}
	b = putUvarint(b, uint64(len(c.Garbage)))
	for _, x := range c.Garbage {
		b = putBytes(b, []byte(x.Key))
		b = putUint64(b, x.Since)
	}
	b = putUint64(b, c.CollectingSlot)
	return c.Front.append(c.Collecting.append(b))
}

// DecodeCheckpoint reads a checkpoint.
func DecodeCheckpoint(b []byte) (*Checkpoint, error) {
	r := open("checkpoint", checkpointMagic, b)
	c := &Checkpoint{
		Database: r.id(), ID: r.id(), Slot: r.uint64(), Epoch: r.uint64(), Hash: r.hash(),
		LastTID: r.tid(), MaxOID: r.oid(), Meta: r.meta(), PackedTo: r.tid(),
	}
	c.Runs = make([]RunInfo, r.count(runInfoLen))
	for i := range c.Runs {
		c.Runs[i] = RunInfo{ID: r.id(), After: r.tid(), UpTo: r.tid(), Entries: int64(r.uint64()), Size: int64(r.uint64())}
	}
	c.Segments = make([]Segment, r.count(segmentLen))
	for i := range c.Segments {
		c.Segments[i] = r.segment()
	}
	c.Logs = make([]LogInfo, r.count(logInfoLen))
	for i := range c.Logs {
		c.Logs[i] = LogInfo{
			Slot: r.uint64(), First: r.tid(), Last: r.tid(), Size: int64(r.uint64()),
			Body: int64(r.uint32()), TableLen: int(r.uint32()), Txns: int(r.uint32()),
		}
	}
	c.Replaced = make([]Replaced, r.count(replacedLen))
	for i := range c.Replaced {
		c.Replaced[i] = Replaced{UpTo: r.uint64(), Since: r.uint64()}
	}
	c.Garbage = make([]Garbage, r.count(garbageLen))
	for i := range c.Garbage {
		c.Garbage[i] = Garbage{Key: string(r.bytes()), Since: r.uint64()}
	}
	c.CollectingSlot = r.uint64()
	c.Collecting, c.Front = r.collect(), r.front()
	return c, r.end()
}
