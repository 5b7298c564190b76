package bucket

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// Store is a bucket, or the part of one under a prefix.
type Store struct {
	opts      Options
	client    *s3.Client
	transport *transport
	prefix    string // of all keys, with the slash
	checksums bool
	unordered bool // a directory bucket: lists are in no order and begin at the beginning
	closed    atomic.Bool
}

var (
	_ objstore.Store    = (*Store)(nil)
	_ objstore.Counting = (*Store)(nil)
)

// String is the URL of the bucket, without parameters.
func (s *Store) String() string {
	return strings.TrimSuffix("s3://"+s.opts.Bucket+"/"+s.prefix, "/")
}

// Counts implements objstore.Counting: requests as they went over the wire, tries that
// were repeated among them.
func (s *Store) Counts() objstore.Counts { return s.transport.meter.Counts() }

// Close implements objstore.Store.
func (s *Store) Close() error {
	if !s.closed.Swap(true) {
		s.transport.CloseIdleConnections()
	}
	return nil
}

// begin says whether an operation may begin.
func (s *Store) begin(ctx context.Context, check error) error {
	if s.closed.Load() {
		return objstore.ErrClosed
	}
	return errors.Join(check, ctx.Err())
}

// once turns the retries off for one request.
func once(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

// Put implements objstore.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte, cond objstore.Cond) (string, error) {
	if err := s.begin(ctx, objstore.CheckKey(key)); err != nil {
		return "", s.fail("Put", key, err)
	}
	in := s.putInput(key)
	in.Body = bytes.NewReader(body)
	in.ContentLength = aws.Int64(int64(len(body)))
	if s.checksums {
		in.ChecksumCRC32C = aws.String(checksum(crc32.Checksum(body, castagnoli)))
	}
	etag, match := cond.ETag()
	switch {
	case match:
		in.IfMatch = aws.String(etag)
	case cond == objstore.IfAbsent:
		in.IfNoneMatch = aws.String("*")
	}
	out, err := s.client.PutObject(ctx, in, once)
	if err == nil && aws.ToString(out.ETag) == "" {
		err = errors.New("the store answered without an etag")
	}
	if err != nil {
		if match && code(err) == "NoSuchKey" {
			err = objstore.ErrExists // none is not the one
		}
		return "", s.fail("Put", key, err)
	}
	return *out.ETag, nil
}

// putInput is what all writes of whole objects have.
func (s *Store) putInput(key string) *s3.PutObjectInput {
	in := &s3.PutObjectInput{
		Bucket: &s.opts.Bucket, Key: aws.String(s.prefix + key),
		ServerSideEncryption: types.ServerSideEncryption(s.opts.SSE),
	}
	if s.opts.KMSKey != "" {
		in.SSEKMSKeyId = &s.opts.KMSKey
	}
	return in
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is a CRC32C as the protocol writes it.
func checksum(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

// Get implements objstore.Store.
func (s *Store) Get(ctx context.Context, key string, r objstore.Range) (objstore.Object, error) {
	err := s.begin(ctx, objstore.CheckKey(key))
	var o objstore.Object
	if err == nil {
		o, err = s.get(ctx, key, r)
	}
	if err != nil {
		return objstore.Object{}, s.fail("Get", key, err)
	}
	return o, nil
}

func (s *Store) get(ctx context.Context, key string, r objstore.Range) (objstore.Object, error) {
	in := &s3.GetObjectInput{Bucket: &s.opts.Bucket, Key: aws.String(s.prefix + key)}
	if header, err := rangeHeader(r); err != nil {
		return objstore.Object{}, err
	} else if header != "" {
		in.Range = &header
	} else if s.checksums {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return objstore.Object{}, err
	}
	o := objstore.Object{
		Info: objstore.Info{Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag), Modified: aws.ToTime(out.LastModified)},
		Len:  aws.ToInt64(out.ContentLength), Body: out.Body,
	}
	if out.ContentRange != nil {
		o.Off, o.Size, err = parseContentRange(*out.ContentRange, o.Len)
	}
	if err == nil {
		err = answers(r, o)
	}
	if err != nil {
		out.Body.Close()
		return objstore.Object{}, err
	}
	o.Body = &wholeBody{out.Body, o.Len}
	return o, nil
}

// wholeBody is a body of n bytes, which looks for its end with the last of them: there
// the checksum is compared.
type wholeBody struct {
	io.ReadCloser
	left int64
}

func (b *wholeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left == 0 && err == nil {
		_, err = io.ReadFull(b.ReadCloser, make([]byte, 1))
		if err == nil {
			err = errors.New("the store sent more than it said")
		}
	}
	if errors.Is(err, io.EOF) && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// answers reports whether o is the part r of its object: a store or a proxy may not
// know ranges, or know them differently.
func answers(r objstore.Range, o objstore.Object) error {
	off, length, err := r.In(o.Size)
	if err == nil && (off != o.Off || length != o.Len) {
		err = fmt.Errorf("the store sent bytes %d+%d where %d+%d of %d were asked for", o.Off, o.Len, off, length, o.Size)
	}
	return err
}

// rangeHeader is r as the header Range; empty for the whole object.
func rangeHeader(r objstore.Range) (string, error) {
	switch {
	case r == (objstore.Range{}):
		return "", nil
	case r.Len < 0:
		return "", objstore.ErrRange
	case r.Off < 0:
		return "bytes=" + strconv.FormatInt(r.Off, 10), nil
	case r.Len == 0 || r.Off > 1<<62-r.Len:
		return fmt.Sprintf("bytes=%d-", r.Off), nil
	}
	return fmt.Sprintf("bytes=%d-%d", r.Off, r.Off+r.Len-1), nil
}

// parseContentRange reads "bytes 0-9/100". n is how many bytes the body has.
func parseContentRange(header string, n int64) (off, size int64, err error) {
	var last int64
	if k, err := fmt.Sscanf(header, "bytes %d-%d/%d", &off, &last, &size); err != nil || k != 3 {
		return 0, 0, fmt.Errorf("the store answered with the range %q", header)
	}
	if off < 0 || last-off != n-1 || last >= size {
		return 0, 0, fmt.Errorf("the store answered with the range %q and %d bytes", header, n)
	}
	return off, size, nil
}

// Head implements objstore.Store.
func (s *Store) Head(ctx context.Context, key string) (objstore.Info, error) {
	err := s.begin(ctx, objstore.CheckKey(key))
	var info objstore.Info
	if err == nil {
		info, err = s.head(ctx, key)
	}
	if err != nil {
		return objstore.Info{}, s.fail("Head", key, err)
	}
	return info, nil
}

func (s *Store) head(ctx context.Context, key string) (objstore.Info, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.opts.Bucket, Key: aws.String(s.prefix + key)})
	if status(err) == 404 {
		// The answer to a HEAD has no body that says whether the object is missing or
		// the whole bucket. That to a GET has.
		o, err := s.get(ctx, key, objstore.Range{})
		if err != nil {
			return objstore.Info{}, err
		}
		return o.Info, o.Body.Close()
	}
	if err != nil {
		return objstore.Info{}, err
	}
	return objstore.Info{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag), Modified: aws.ToTime(out.LastModified),
	}, nil
}

// Delete implements objstore.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	err := s.begin(ctx, objstore.CheckKey(key))
	if err == nil {
		_, err = s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.opts.Bucket, Key: aws.String(s.prefix + key)})
		if code(err) == "NoSuchKey" {
			err = nil
		}
	}
	if err != nil {
		return s.fail("Delete", key, err)
	}
	return nil
}

// List implements objstore.Store.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		err := s.begin(ctx, objstore.CheckPrefix(prefix))
		if err == nil {
			err = s.list(ctx, prefix, after, func(info objstore.Info) bool { return yield(info, nil) })
		}
		if err != nil {
			yield(objstore.Info{}, s.fail("List", prefix, err))
		}
	}
}

// list asks for one page after the other until yield has enough.
func (s *Store) list(ctx context.Context, prefix, after string, yield func(objstore.Info) bool) error {
	in := &s3.ListObjectsV2Input{Bucket: &s.opts.Bucket}
	if s.prefix+prefix != "" {
		in.Prefix = aws.String(s.prefix + prefix)
	}
	if after != "" && !s.unordered {
		in.StartAfter = aws.String(s.prefix + after)
	}
	if s.opts.PageSize > 0 {
		in.MaxKeys = &s.opts.PageSize
	}
	for {
		out, err := s.client.ListObjectsV2(ctx, in)
		if err != nil {
			return err
		}
		for _, o := range out.Contents {
			key, ours := strings.CutPrefix(aws.ToString(o.Key), s.prefix+prefix)
			key = prefix + key
			if !ours || key <= after || strings.HasSuffix(key, "/") { // what consoles make for a folder
				continue
			}
			info := objstore.Info{Key: key, Size: aws.ToInt64(o.Size), ETag: aws.ToString(o.ETag), Modified: aws.ToTime(o.LastModified)}
			if !yield(info) {
				return nil
			}
		}
		if !aws.ToBool(out.IsTruncated) {
			return nil
		}
		if aws.ToString(out.NextContinuationToken) == "" {
			return errors.New("the store sent part of a list, and not how to go on")
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

// later is a context for what must be done although ctx may have ended.
func later(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}
