package dir

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/internal/vfs"
)

// Put implements objstore.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte, cond objstore.Cond) (string, error) {
	err := s.begin(ctx, &s.meter.Put, objstore.CheckKey(key))
	var etag string
	if err == nil {
		etag, err = s.put(ctx, key, bytes.NewReader(body), cond)
	}
	if err != nil {
		return "", s.fail("Put", key, err)
	}
	return etag, nil
}

// PutFile implements objstore.Store.
func (s *Store) PutFile(ctx context.Context, key, name string) error {
	err := s.begin(ctx, &s.meter.Put, objstore.CheckKey(key))
	if err == nil {
		err = s.putFile(ctx, key, name)
	}
	if err != nil {
		return s.fail("PutFile", key, err)
	}
	return nil
}

func (s *Store) putFile(ctx context.Context, key, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = s.put(ctx, key, f, objstore.Always)
	return err
}

// put writes a file aside and gives it its name if cond holds.
func (s *Store) put(ctx context.Context, key string, r io.Reader, cond objstore.Cond) (etag string, err error) {
	tmp := s.path(tmpDir + "/" + objstore.Nonce())
	f, err := s.fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return "", err
	}
	defer s.fs.Remove(tmp) // after a rename there is nothing to remove
	info, err := s.fill(ctx, f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	err = s.name(ctx, tmp, key, cond)
	if errors.Is(err, fs.ErrNotExist) { // somebody removed the folder
		s.forget()
		err = s.name(ctx, tmp, key, cond)
	}
	if err != nil {
		return "", err
	}
	return info.ETag, s.syncDir(path.Dir(key))
}

// name gives a file the name of a key if cond holds.
func (s *Store) name(ctx context.Context, tmp, key string, cond objstore.Cond) error {
	if err := s.makeFolder(path.Dir(key)); err != nil {
		return err
	}
	if cond == objstore.IfAbsent {
		return s.link(tmp, key)
	}
	return s.rename(ctx, tmp, key, cond)
}

// fill writes and syncs a new file.
func (s *Store) fill(ctx context.Context, f vfs.File, r io.Reader) (objstore.Info, error) {
	n, err := io.Copy(struct{ io.Writer }{f}, &ctxReader{ctx, r})
	s.meter.BytesIn.Add(n)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return objstore.Info{}, err
	}
	return infoOf("", f)
}

// ctxReader ends with the context.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// link gives a file the name of a key that nobody has.
func (s *Store) link(tmp, key string) error {
	err := s.fs.Link(tmp, s.path(key))
	if errors.Is(err, fs.ErrExist) {
		return objstore.ErrExists
	}
	return err
}

// rename gives a file the name of a key, whoever has it, if its etag is the right one.
func (s *Store) rename(ctx context.Context, tmp, key string, cond objstore.Cond) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if etag, ok := cond.ETag(); ok {
		info, err := s.head(key)
		if errors.Is(err, objstore.ErrNotExist) || err == nil && info.ETag != etag {
			return objstore.ErrExists
		}
		if err != nil {
			return err
		}
	}
	return s.fs.Rename(tmp, s.path(key))
}
