package client

import (
	"io/fs"
	"syscall"
	"time"
)

// accessTime is when a file was last asked for; LoadBlob sets it, so that it does
// not matter how the file system is mounted.
func accessTime(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Atim.Unix())
	}
	return info.ModTime()
}
