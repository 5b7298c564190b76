package bucket

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

const (
	parallelParts = 4
	uploadMark    = "zari-upload" // metadata of an object: the upload that it came with
)

// PutFile implements objstore.Store. A file of more than one part is uploaded in parts,
// several at a time.
func (s *Store) PutFile(ctx context.Context, key, path string) error {
	err := s.begin(ctx, objstore.CheckKey(key))
	if err == nil {
		err = s.putFile(ctx, key, path)
	}
	if err != nil {
		return s.fail("PutFile", key, err)
	}
	return nil
}

func (s *Store) putFile(ctx context.Context, key, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() <= s.opts.PartSize {
		return s.putWhole(ctx, key, f, st.Size())
	}
	u := &upload{s: s, key: aws.String(s.prefix + key), f: f, size: st.Size(), part: partSize(st.Size(), s.opts.PartSize), nonce: objstore.Nonce()}
	return u.run(ctx)
}

// partSize is how large the parts of a file are: all the same, as some stores want
// it, and not too many.
func partSize(size, part int64) int64 {
	for size > part*maxParts {
		part *= 2
	}
	return part
}

// putWhole uploads a file in one request.
func (s *Store) putWhole(ctx context.Context, key string, f *os.File, size int64) error {
	in := s.putInput(key)
	body := io.NewSectionReader(f, 0, size)
	in.Body, in.ContentLength = body, &size
	crc, err := s.crcOf(body)
	if err != nil {
		return err
	}
	in.ChecksumCRC32C = crc
	_, err = s.client.PutObject(ctx, in)
	return err
}

// crcOf is the checksum to send with a body, or nil. It rewinds the body.
func (s *Store) crcOf(body io.ReadSeeker) (*string, error) {
	if !s.checksums {
		return nil, nil
	}
	h := crc32.New(castagnoli)
	if _, err := io.Copy(h, body); err != nil {
		return nil, err
	}
	_, err := body.Seek(0, io.SeekStart)
	return aws.String(checksum(h.Sum32())), err
}

// upload is a file on its way in parts.
type upload struct {
	s          *Store
	key        *string
	f          *os.File
	size, part int64
	nonce      string
	id         *string
}

func (u *upload) run(ctx context.Context) error {
	in := &s3.CreateMultipartUploadInput{
		Bucket: &u.s.opts.Bucket, Key: u.key,
		Metadata:             map[string]string{uploadMark: u.nonce},
		ServerSideEncryption: types.ServerSideEncryption(u.s.opts.SSE),
	}
	if u.s.opts.KMSKey != "" {
		in.SSEKMSKeyId = &u.s.opts.KMSKey
	}
	if u.s.checksums {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c
	}
	out, err := u.s.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return err
	}
	u.id = out.UploadId
	parts, err := u.sendAll(ctx)
	if err == nil {
		err = u.complete(ctx, parts)
	}
	if err != nil {
		u.abort(ctx)
	}
	return err
}

// sendAll sends the parts.
func (u *upload) sendAll(ctx context.Context) ([]types.CompletedPart, error) {
	parts := make([]types.CompletedPart, (u.size+u.part-1)/u.part)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelParts)
	for i := range parts {
		g.Go(func() error {
			err := ctx.Err()
			if err == nil {
				parts[i], err = u.send(ctx, int64(i))
			}
			return err
		})
	}
	return parts, g.Wait()
}

func (u *upload) send(ctx context.Context, i int64) (types.CompletedPart, error) {
	off := i * u.part
	size := min(u.part, u.size-off)
	body := io.NewSectionReader(u.f, off, size)
	crc, err := u.s.crcOf(body)
	if err != nil {
		return types.CompletedPart{}, err
	}
	number := aws.Int32(int32(i + 1))
	out, err := u.s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &u.s.opts.Bucket, Key: u.key, UploadId: u.id, PartNumber: number,
		Body: body, ContentLength: &size, ChecksumCRC32C: crc,
	})
	if err != nil {
		return types.CompletedPart{}, fmt.Errorf("part %d: %w", i+1, err)
	}
	return types.CompletedPart{PartNumber: number, ETag: out.ETag, ChecksumCRC32C: crc}, nil
}

// complete makes the object of the parts. If the answer to a first try is lost, a second
// one finds no upload any more: then the object says whether it came of this one.
func (u *upload) complete(ctx context.Context, parts []types.CompletedPart) error {
	_, err := u.s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &u.s.opts.Bucket, Key: u.key, UploadId: u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if code(err) != "NoSuchUpload" {
		return err
	}
	out, headErr := u.s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &u.s.opts.Bucket, Key: u.key})
	if headErr != nil {
		return errors.Join(err, headErr)
	}
	if out.Metadata[uploadMark] != u.nonce || aws.ToInt64(out.ContentLength) != u.size {
		return err
	}
	return nil
}

// abort gives the parts' space back, if it can. What it cannot is removed by a rule of
// the bucket, which the documentation asks for.
func (u *upload) abort(ctx context.Context) {
	ctx, cancel := later(ctx)
	defer cancel()
	_, _ = u.s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &u.s.opts.Bucket, Key: u.key, UploadId: u.id,
	})
}
