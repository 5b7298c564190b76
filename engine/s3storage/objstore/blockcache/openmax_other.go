//go:build !unix

package blockcache

// maxOpen is how many files are kept open: none, for an open file may not be deletable.
func maxOpen() int { return 0 }
