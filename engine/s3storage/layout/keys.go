package layout

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/zaridb/zari/zodb"
)

// Keys of which there is one.
const (
	FormatKey = "format"
	HintKey   = "hint"
	FloorKey  = "floor"
	LeaseKey  = "lease"
	PinsKey   = "pins"
)

// Prefixes of the keys of which there are many.
const (
	LogPrefix        = "log/"
	SegmentPrefix    = "seg/"
	RunPrefix        = "idx/"
	CheckpointPrefix = "ckpt/"
	BlobPrefix       = "blob/"
	ProbePrefix      = "probe/"
	PinPrefix        = "pin/"
	SharedPrefix     = "shared/"
)

// ID names something for good: it is random.
type ID [16]byte

// NewID returns an ID that nobody else has.
func NewID() ID {
	var id ID
	rand.Read(id[:])
	return id
}

// String returns 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// LogKey returns the key of a slot of the log.
func LogKey(slot uint64) string { return fmt.Sprintf("%s%020d", LogPrefix, slot) }

// SegmentKey returns the key of a segment.
func SegmentKey(id ID) string { return spread(SegmentPrefix, id, id.String()) }

// RunKey returns the key of a run of the index.
func RunKey(id ID) string { return spread(RunPrefix, id, id.String()) }

// CheckpointKey returns the key of a checkpoint.
func CheckpointKey(slot uint64, id ID) string {
	return fmt.Sprintf("%s%020d-%v", CheckpointPrefix, slot, id)
}

// BlobKey returns the key of a blob of an object.
func BlobKey(oid zodb.OID, id ID) string {
	return spread(BlobPrefix, id, fmt.Sprintf("%016x-%v", uint64(oid), id))
}

// PinKey returns the key of what a branch of this database shares with it.
func PinKey(branch ID) string { return PinPrefix + branch.String() }

// SharedKey returns the key of what this database, a branch, shares with an owner.
func SharedKey(owner ID) string { return SharedPrefix + owner.String() }

// spread puts keys under 256 prefixes, which a store can serve apart.
func spread(prefix string, id ID, name string) string {
	return Spread(prefix, id) + name
}

// Spread returns the beginning of the keys with a prefix and an id.
func Spread(prefix string, id ID) string { return fmt.Sprintf("%s%02x/", prefix, id[0]) }

// CheckpointSlot returns the slot in the key of a checkpoint.
func CheckpointSlot(key string) (uint64, bool) {
	name, ok := strings.CutPrefix(key, CheckpointPrefix)
	if !ok || len(name) < 20 {
		return 0, false
	}
	slot, err := strconv.ParseUint(name[:20], 10, 64)
	return slot, err == nil
}
