// Package memdir makes temporary directories for what need not be on a disk, such as
// the data of database servers that serve one test: they sync every file of every
// table that they make, whatever they are told.
package memdir

import (
	"os"
	"syscall"
)

// enough is how many bytes must be left in memory.
const enough = 2 << 30

// Make makes a new directory, in memory where there is room. Its path is short, for
// the names of sockets.
func Make(pattern string) (string, error) {
	const shm = "/dev/shm"
	if free(shm) > enough {
		if dir, err := os.MkdirTemp(shm, pattern); err == nil {
			return dir, nil
		}
	}
	return os.MkdirTemp("", pattern)
}

// free returns how many bytes a file system has left.
func free(path string) uint64 {
	var s syscall.Statfs_t
	if syscall.Statfs(path, &s) != nil {
		return 0
	}
	return uint64(s.Bavail) * uint64(s.Bsize)
}
