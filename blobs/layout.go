package blobs

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/zaridb/zari/zodb"
)

// The layouts of a blob directory, as the marker file names them.
const (
	Bushy = "bushy" // eight levels of folders, one for each byte of the oid
	Lawn  = "lawn"  // one folder for each oid; slow in file systems that dislike large folders
)

const (
	markerName = ".layout"
	tempName   = "tmp"
	suffix     = ".blob"
)

// oidPath returns the folder of an object, relative to the top.
func oidPath(layout string, oid zodb.OID) string {
	if layout == Lawn {
		return repr(uint64(oid))
	}
	var parts [8]string
	for i, b := range oid.Bytes() {
		parts[i] = fmt.Sprintf("0x%02x", b)
	}
	return filepath.Join(parts[:]...)
}

// repr writes a number as ZODB.utils.oid_repr does: an even number of digits
// without leading zeros.
func repr(v uint64) string {
	s := strconv.FormatUint(v, 16)
	if len(s)%2 == 1 {
		s = "0" + s
	}
	return "0x" + s
}

// parseRepr reads what repr writes, and nothing else: a folder with another
// spelling of an oid is never looked into, so it must not be listed either.
func parseRepr(s string) (uint64, bool) {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok || len(digits) > 16 {
		return 0, false
	}
	v, err := strconv.ParseUint(digits, 16, 64)
	return v, err == nil && repr(v) == s
}

// parseByte reads one level of a bushy path.
func parseByte(s string) (byte, bool) {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok || len(digits) != 2 || strings.ToLower(digits) != digits {
		return 0, false
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return 0, false
	}
	return b[0], true
}

func fileName(tid zodb.TID) string { return repr(uint64(tid)) + suffix }

func parseFileName(name string) (zodb.TID, bool) {
	number, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return 0, false
	}
	v, ok := parseRepr(number)
	return zodb.TID(v), ok
}
