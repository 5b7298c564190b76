//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package vfs

import (
	"errors"
	"os"
)

// flock does not exist here, and a lock that Python does not see is none.
func flock(*os.File) error { return errors.ErrUnsupported }
