package collector

import (
	"context"
	"io/fs"
	"path/filepath"
	"time"
)

// Estimate is about how large the archive will be, in bytes: text packs to less than a third, and everything that is no log is small.
func Estimate(ctx context.Context, o Options) int64 {
	h := newHost(o)
	text, _ := patiently(ctx, 2*time.Second, func() (int64, error) {
		n := int64(3 << 20) // commands and the journal
		seen := 0
		for _, dir := range []string{"/var/log", h.dataRoot(ctx) + "/containers"} {
			_ = filepath.WalkDir(h.path(dir), func(_ string, d fs.DirEntry, err error) error {
				if seen++; seen > maxCounted {
					return filepath.SkipAll
				}
				if err == nil && d.Type().IsRegular() {
					if info, err := d.Info(); err == nil {
						n += min(info.Size(), h.logLimit())
					}
				}
				return nil
			})
		}
		return n, nil
	})
	return min(text, o.MaxBytes)/3 + 2*reserve
}
