package bucket

import (
	"errors"
	"fmt"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// code is the protocol's name of an error; empty if the store did not answer.
func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

// status is the HTTP status of an error; 0 if the store did not answer.
func status(err error) int {
	if e, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return e.HTTPStatusCode()
	}
	return 0
}

// known are the codes that have an error of objstore. Others with the same status
// (a bucket that does not exist is a 404, too) have not.
var known = map[string]error{
	"PreconditionFailed":         objstore.ErrExists,
	"ConditionalRequestConflict": objstore.ErrConflict,
	"OperationAborted":           objstore.ErrConflict,
	"NoSuchKey":                  objstore.ErrNotExist,
	"InvalidRange":               objstore.ErrRange,
}

// hints are what to do about a code.
var hints = map[string]string{
	"AccessDenied":                 "the credentials need s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload on the objects and s3:ListBucket on the bucket; without the last a missing object looks like a forbidden one",
	"NoSuchBucket":                 "make the bucket, or look at its name, the region and the endpoint",
	"PermanentRedirect":            "the bucket lies in another region: say region=",
	"AuthorizationHeaderMalformed": "the bucket lies in another region: say region=",
	"InvalidAccessKeyId":           "the store does not know these credentials: look at AWS_ACCESS_KEY_ID or ~/.aws/credentials, and at the endpoint",
	"SignatureDoesNotMatch":        "the secret key is wrong, or something on the way changes requests",
	"ExpiredToken":                 "the session's token has expired: get a new one",
	"RequestTimeTooSkewed":         "the clock of this machine is wrong",
	"NotImplemented":               "the store does not know what was sent along: with checksums=always try checksums=required",
	"BadDigest":                    "the bytes were changed on the way",
	"XAmzContentSHA256Mismatch":    "the bytes were changed on the way",
	"SlowDown":                     "the store asks for fewer requests",
	"ObjectParentIsFile":           "one key is the folder of another; nothing that Zari writes is",
}

// hintOf is what to do about an error; empty if we do not know.
func hintOf(err error) string {
	if hint := hints[code(err)]; hint != "" {
		return hint
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "get identity"), strings.Contains(text, "refresh cached credentials"):
		return "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role"
	case strings.Contains(text, "Missing Region"), strings.Contains(text, "Invalid region"):
		return "say region=, or set AWS_REGION"
	}
	return ""
}

// fail says where an error happened, and what to do about it.
func (s *Store) fail(op, key string, err error) error {
	e := &objstore.Error{Op: op, Store: s.String(), Key: key, Err: err}
	if is, ok := known[code(err)]; ok {
		e.Err = is
		return e
	}
	if s.opts.Endpoint != "" {
		e.Err = fmt.Errorf("%s: %w", s.opts.Endpoint, err)
	}
	e.Hint = hintOf(err)
	return e
}
