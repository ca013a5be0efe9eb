package collector

import (
	"context"
	"os"

	"github.com/fairlead/fairlead/collector/findings"
	"github.com/fairlead/fairlead/collector/upload"
	"github.com/fairlead/fairlead/internal/objects"
)

// What others know of the packages below this one.
type (
	// Facts are what rules look at.
	Facts = findings.Facts
	// Flow is a log on its way, of the facts.
	Flow = findings.Flow
	// Finding is something that is probably wrong.
	Finding = findings.Finding
	// Upload is an object on its way to S3.
	Upload = upload.Upload
)

// FindingsText is a list of findings for people.
func FindingsText(list []Finding) string { return findings.Text(list) }

// NewUpload begins an upload to place; nothing is sent yet. said is told when a part has to be sent again.
func NewUpload(ctx context.Context, place objects.Place, said func(string)) (*Upload, error) {
	return upload.New(ctx, place, said)
}

// UploadFile uploads a file, without the parts that a former attempt brought there. It answers how many bytes were spared so.
func UploadFile(ctx context.Context, place objects.Place, f *os.File, said func(string)) (spared int64, err error) {
	return upload.File(ctx, place, f, said)
}
