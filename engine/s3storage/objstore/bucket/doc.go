// Package bucket keeps objects in a bucket of Amazon S3, or of a store that speaks its
// protocol.
//
// # Finding the bucket
//
//	s3://zodb/plone                                              Amazon, region from the environment
//	s3://zodb/plone?region=eu-central-1&profile=zari             Amazon
//	s3://zodb/plone?endpoint=https://minio.example.org:9000      another store, path style
//
// ParseURL reads such URLs; the parameters are the fields of Options. Credentials are not
// part of a URL. They come from where all of Amazon's tools have them: the environment
// (AWS_ACCESS_KEY_ID...), ~/.aws/config and ~/.aws/credentials with profiles, single
// sign-on and assumed roles, web identity and pod identity (EKS), the metadata
// services of ECS and EC2.
//
// # Requests
//
// A Put is one request that is sent once: the client library's retries are off, because
// they report the success of a first try as "exists" after the second. Whoever put knows
// his own bytes and looks whether they are there. Reads, deletes, lists and the parts of
// a file are tried up to five times. A try ends when nothing was sent or
// received for Options.Timeout.
//
// # Integrity
//
// Every request is signed over the hash of its body, which the store compares. To Amazon
// (or with checksums=always) a CRC32C goes along, which the store keeps, compares and
// returns with whole objects, where it is compared again. With other stores
// nothing is sent that the protocol of 2008 did not have, unless it is asked for: some
// refuse what they do not know.
package bucket
