package fold

import (
	"testing"
	"time"
)

// corpusLines are the lines of one stream over and over, n of them, a millisecond of rest between the rounds; and the bytes of
// one round.
func corpusLines(b *testing.B, dir string) ([]Line, int64) {
	lines := corpusStreams(b, "testdata/corpora/"+dir)["stdout"]
	bytes := int64(0)
	for _, l := range lines {
		bytes += int64(len(l.Text)) + 1
	}
	return lines, bytes
}

// BenchmarkAdd folds real logs, with a Retain for each 64 KiB as the reading loop does.
func BenchmarkAdd(b *testing.B) {
	for _, name := range []string{"rails61-default-tags", "rails61-simple", "sidekiq", "docker-edges"} {
		b.Run(name, func(b *testing.B) {
			lines, size := corpusLines(b, name)
			s := newFolder(b, nil).Stream("docker.app")
			events := 0
			emit := func(e *Event) { events++ }
			span := lines[len(lines)-1].Time - lines[0].Time + int64(time.Second)
			b.SetBytes(size)
			b.ReportAllocs()
			shift, since := int64(0), 0
			for b.Loop() {
				for _, l := range lines {
					l.Time += shift
					l.Read = l.Time
					s.Add(l, emit)
					if since += len(l.Text); since > 64<<10 {
						s.Retain()
						since = 0
					}
				}
				shift += span
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(lines)), "ns/line")
			b.ReportMetric(float64(events)/float64(b.N), "events")
		})
	}
}
