// Package upload streams an object into S3 in parts, so that nothing of it has to be on disk, and goes on where a former upload of a
// file stopped. It signs its requests itself: the SDK's client for S3 makes the program 5 MB larger.
package upload

import (
	"errors"
	"strings"
)

// Location is a place in S3.
type Location struct{ Bucket, Prefix string }

// Parse reads s3://BUCKET/PREFIX; the prefix may be empty.
func Parse(uri string) (Location, error) {
	rest, ok := strings.CutPrefix(uri, "s3://")
	bucket, prefix, _ := strings.Cut(rest, "/")
	if !ok || bucket == "" || strings.ContainsAny(bucket, " :@?#") {
		return Location{}, errors.New("not a place in S3: write s3://BUCKET/PREFIX")
	}
	return Location{bucket, strings.Trim(prefix, "/")}, nil
}

// Key is the key of an object of that name there.
func (l Location) Key(name string) string {
	if l.Prefix == "" {
		return name
	}
	return l.Prefix + "/" + name
}

// URI names the object for people.
func (l Location) URI(name string) string { return "s3://" + l.Bucket + "/" + l.Key(name) }
