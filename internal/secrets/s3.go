package secrets

import (
	"context"
	"errors"
	"io"

	"github.com/fairlead/fairlead/internal/objects"
)

func (s *Store) object(ctx context.Context, uri string) (string, error) {
	place, err := objects.Parse(uri)
	if err != nil || place.Key == "" {
		return "", errors.New("not an object: write s3://BUCKET/KEY")
	}
	body, err := objects.New(s.cfg).Get(ctx, place)
	if err != nil {
		return "", err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxValue+1))
	return string(text), err
}
