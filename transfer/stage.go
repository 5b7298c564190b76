package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

var errNoBlobs = errors.New("the destination was opened without a directory for blobs")

// stageName is the folder's name.
const stageName = "zari-copy"

// blobCopiers is how many blobs are copied at a time.
const blobCopiers = 4

// stage is the folder where copies of blobs wait for their transaction. It is
// made when the first of them turns up.
type stage struct {
	dst    zodb.Storage
	dir    string
	lock   io.Closer
	tokens chan struct{}
}

// stagedBlob is a copy of a blob. path and err are set when it is done.
type stagedBlob struct {
	size int64
	path string
	err  error
}

func newStage(dst zodb.Storage) *stage {
	return &stage{dst: dst, tokens: make(chan struct{}, blobCopiers)}
}

// open makes an empty folder.
func (s *stage) open() error {
	if s.dir != "" {
		return nil
	}
	blobs, ok := zodb.As[zodb.BlobStore](s.dst)
	if !ok {
		return errNoBlobs
	}
	temp, err := blobs.BlobTempDir()
	if err != nil {
		return err
	}
	s.lock, err = vfs.OS().Lock(filepath.Join(temp, "zari-copy.lock"))
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("another copy into %s is under way: %w", named("the destination", s.dst), err)
	}
	if err != nil {
		return err
	}
	dir := filepath.Join(temp, stageName)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	s.dir = dir
	return nil
}

// sweep opens the folder if a copy that was killed has left it, so that close
// removes it also where there are no more blobs to copy.
func (s *stage) sweep() error {
	blobs, ok := zodb.As[zodb.BlobStore](s.dst)
	if !ok {
		return nil
	}
	temp, err := blobs.BlobTempDir()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(temp, stageName)); err != nil {
		return nil // as nearly always; what else it may be is told when the folder is needed
	}
	return s.open()
}

// close removes what is left.
func (s *stage) close() {
	if s.dir != "" {
		os.RemoveAll(s.dir) // what stays is removed by the next copy
	}
	if s.lock != nil {
		s.lock.Close()
	}
}

// add starts to copy a blob; copying tells when it is done.
func (s *stage) add(ctx context.Context, copying *sync.WaitGroup, src string, oid zodb.OID, tid zodb.TID) (*stagedBlob, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	info, err := os.Stat(src)
	if err != nil {
		return nil, err
	}
	select {
	case s.tokens <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b := &stagedBlob{size: info.Size()}
	copying.Go(func() {
		defer func() { <-s.tokens }()
		path := filepath.Join(s.dir, fmt.Sprintf("%v-%v", oid, tid))
		b.path, b.err = path, copyFile(ctx, path, src)
	})
	return b, nil
}

// copyPiece is how much is copied between two looks at the context.
const copyPiece = 64 << 20

func copyFile(ctx context.Context, dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for err == nil {
		if err = ctx.Err(); err == nil {
			_, err = io.CopyN(out, in, copyPiece)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return errors.Join(err, out.Close())
}
