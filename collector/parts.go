package collector

import (
	"context"
	"os"

	"github.com/fairlead/fairlead/collector/findings"
	"github.com/fairlead/fairlead/collector/upload"
)

// What others know of the packages below this one.
type (
	// Facts are what rules look at.
	Facts = findings.Facts
	// Flow is a log on its way, of the facts.
	Flow = findings.Flow
	// Finding is something that is probably wrong.
	Finding = findings.Finding
	// Location is a place in S3.
	Location = upload.Location
	// Upload is an object on its way there.
	Upload = upload.Upload
)

// FindingsText is a list of findings for people.
func FindingsText(list []Finding) string { return findings.Text(list) }

// ParseLocation reads s3://BUCKET/PREFIX.
func ParseLocation(uri string) (Location, error) { return upload.Parse(uri) }

// NewUpload begins an upload to l; nothing is sent yet. said is told when a part has to be sent again.
func NewUpload(ctx context.Context, l Location, name string, said func(string)) (*Upload, error) {
	return upload.New(ctx, l, name, said)
}

// UploadFile uploads a file, without the parts that a former attempt brought there. It answers how many bytes were spared so.
func UploadFile(ctx context.Context, l Location, name string, f *os.File, said func(string)) (spared int64, err error) {
	return upload.File(ctx, l, name, f, said)
}
