//go:build unix

package blockcache

import "syscall"

// maxOpen is how many files are kept open: at most an eighth of what this process may have.
func maxOpen() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(uint64(limit.Cur)/8, 8192))
}
