package bucket

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Open prepares a Store. It reads configuration and credentials as far as they are
// files, but talks to nobody: whether the bucket is there and good enough is found
// out by objstore.Probe.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("s3://%s: %w", opts.Bucket, err)
	}
	cfg, err := loadConfig(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("s3://%s: %w", opts.Bucket, err)
	}
	s := &Store{opts: opts, unordered: strings.HasSuffix(opts.Bucket, "--x-s3")}
	if opts.Prefix != "" {
		s.prefix = opts.Prefix + "/"
	}
	rt := opts.Transport
	if rt == nil {
		if rt, err = newTransport(opts); err != nil {
			return nil, err
		}
	}
	s.transport = &transport{base: rt}
	s.client = s3.NewFromConfig(cfg, s.clientOptions)
	return s, nil
}

// loadConfig finds region and credentials.
func loadConfig(ctx context.Context, opts Options) (aws.Config, error) {
	var load []func(*config.LoadOptions) error
	if opts.Region != "" {
		load = append(load, config.WithRegion(opts.Region))
	}
	if opts.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(opts.Profile))
	}
	if opts.AccessKey != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(opts.AccessKey, opts.SecretKey, opts.SessionToken)))
	}
	return config.LoadDefaultConfig(ctx, load...)
}

// clientOptions sets the client up. An endpoint may also have come from the environment.
func (s *Store) clientOptions(o *s3.Options) {
	if s.opts.Endpoint != "" {
		o.BaseEndpoint = &s.opts.Endpoint
	}
	foreign := o.BaseEndpoint != nil
	if foreign {
		s.opts.Endpoint = *o.BaseEndpoint
		if o.Region == "" {
			o.Region = "us-east-1" // something has to stand in the signature
		}
	}
	s.checksums = s.opts.Checksums == "always" || s.opts.Checksums == "" && !foreign
	o.UsePathStyle = s.opts.Addressing == "path" || s.opts.Addressing == "" && foreign
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired // we send our own
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	o.DisableLogOutputChecksumValidationSkipped = true
	o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
		r.MaxAttempts = 5
		r.MaxBackoff = 3 * time.Second
	})
	o.HTTPClient = &http.Client{Transport: s.transport, CheckRedirect: noRedirect}
}

// noRedirect hands the answer to the client, which knows what it means.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
