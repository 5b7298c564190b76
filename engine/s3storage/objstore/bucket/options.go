package bucket

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// Options say which bucket, and how to talk to it. Only Bucket is required.
type Options struct {
	Bucket string
	Prefix string // of all keys, without slashes around it: several databases may share a bucket

	Region   string // empty: from the environment, or us-east-1 with an Endpoint
	Profile  string // in ~/.aws/config
	Endpoint string // URL of another store than Amazon's; empty: AWS_ENDPOINT_URL_S3, or Amazon

	// Addressing is where the bucket's name goes: "path" (https://host/bucket/key) or
	// "host" (https://bucket.host/key). Empty: path with an Endpoint, host without.
	Addressing string

	// Checksums: "always" sends and asks for CRC32C, "required" only what the
	// protocol demands. Empty: required with an Endpoint, always without.
	Checksums string

	SSE    string // encryption at rest: "AES256", "aws:kms", "aws:kms:dsse"; empty: as the bucket is set
	KMSKey string // for aws:kms; empty: the account's own

	CAFile  string        // PEM file of the authorities that the endpoint's certificate is checked with; empty: AWS_CA_BUNDLE, or the system's
	Timeout time.Duration // of a try, without a byte sent or received; 0: 15 s

	// AccessKey, SecretKey and SessionToken stand in for the chain described above.
	AccessKey, SecretKey, SessionToken string

	PartSize  int64             // of files, in bytes; 0: 16 MiB. Larger files have larger parts.
	PageSize  int32             // of lists; 0: as large as the store makes them
	Transport http.RoundTripper // nil: one of our own
}

// Bounds of the protocol.
const (
	minPart  = 5 << 20
	maxParts = 10_000
)

var bucketName = regexp.MustCompile(`^[a-z0-9A-Z][a-zA-Z0-9._-]{1,254}$`)

// check reports what is wrong with the options, and fills in defaults.
func (o *Options) check() error {
	o.Prefix = strings.Trim(o.Prefix, "/")
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !bucketName.MatchString(o.Bucket) {
		bad("%q is not the name of a bucket", o.Bucket)
	}
	if err := objstore.CheckPrefix(o.Prefix); err != nil {
		bad("prefix: %w", err)
	}
	if !isEndpoint(o.Endpoint) {
		bad("the endpoint is not of the form https://host or https://host:port")
	}
	for _, c := range []struct{ name, value, allowed string }{
		{"addressing", o.Addressing, "path host"},
		{"checksums", o.Checksums, "always required"},
		{"sse", o.SSE, "AES256 aws:kms aws:kms:dsse"},
	} {
		if c.value != "" && !slices.Contains(strings.Fields(c.allowed), c.value) {
			bad("%s is one of: %s", c.name, c.allowed)
		}
	}
	if o.KMSKey != "" && !strings.HasPrefix(o.SSE, "aws:kms") {
		bad("kms-key needs sse=aws:kms")
	}
	if (o.AccessKey == "") != (o.SecretKey == "") {
		bad("an access key needs its secret key, and the other way round")
	}
	if o.PartSize == 0 {
		o.PartSize = 16 << 20
	}
	if o.PartSize < minPart {
		bad("parts have at least %d bytes", minPart)
	}
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	return errors.Join(errs...)
}

// isEndpoint reports whether text can be an endpoint. It may hold a secret if it cannot.
func isEndpoint(text string) bool {
	u, err := url.Parse(text)
	return text == "" || err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") && u.User == nil
}

// setters are the parameters of a URL.
var setters = map[string]func(o *Options, value string) error{
	"region":     func(o *Options, v string) error { o.Region = v; return nil },
	"profile":    func(o *Options, v string) error { o.Profile = v; return nil },
	"endpoint":   func(o *Options, v string) error { o.Endpoint = v; return nil },
	"addressing": func(o *Options, v string) error { o.Addressing = v; return nil },
	"checksums":  func(o *Options, v string) error { o.Checksums = v; return nil },
	"sse":        func(o *Options, v string) error { o.SSE = v; return nil },
	"kms-key":    func(o *Options, v string) error { o.KMSKey = v; return nil },
	"ca-file":    func(o *Options, v string) error { o.CAFile = v; return nil },
	"timeout": func(o *Options, v string) (err error) {
		o.Timeout, err = time.ParseDuration(v)
		if err == nil && o.Timeout <= 0 {
			err = errors.New("must be more than nothing")
		}
		return err
	},
	"part-size": func(o *Options, v string) (err error) {
		o.PartSize, err = strconv.ParseInt(v, 10, 64)
		return err
	},
}

// Parameters are the names of those that ParseURL reads.
func Parameters() []string { return slices.Sorted(maps.Keys(setters)) }

// ParseURL reads an s3:// URL. It returns also the parameters that it does not know.
func ParseURL(text string) (Options, url.Values, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Options{}, nil, errors.New("not a URL: " + strings.TrimPrefix(err.Error(), "parse "))
	}
	if u.Scheme != "s3" || u.Opaque != "" || u.Fragment != "" {
		return Options{}, nil, fmt.Errorf("%s://... is not of the form s3://BUCKET/PREFIX", u.Scheme)
	}
	if u.User != nil {
		return Options{}, nil, errors.New("credentials are not part of an s3:// URL: put them into the environment or ~/.aws/credentials")
	}
	o := Options{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Options{}, nil, err
	}
	rest := make(url.Values)
	for name, values := range query {
		set, known := setters[name]
		if !known {
			rest[name] = values
			continue
		}
		if len(values) != 1 {
			return Options{}, nil, fmt.Errorf("%s is given %d times", name, len(values))
		}
		if err := set(&o, values[0]); err != nil {
			return Options{}, nil, fmt.Errorf("%s=%s: %w", name, values[0], err)
		}
	}
	return o, rest, o.check()
}
