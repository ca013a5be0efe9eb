package plan

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func series(every time.Duration, free func(i int) int64, n int) []Sample {
	var s []Sample
	for i := range n {
		s = append(s, Sample{Up: time.Duration(i) * every, FreeBytes: free(i), FreeInodes: 1000})
	}
	return s
}

func TestUntilFull(t *testing.T) {
	for _, c := range []struct {
		name     string
		samples  []Sample
		min, max time.Duration
	}{
		{"nothing known", nil, Never, Never},
		{"too few", series(time.Minute, func(i int) int64 { return 1000 - int64(i)*100 }, 3), Never, Never},
		{"still", series(30*time.Second, func(int) int64 { return 1000 }, 60), Never, Never},
		{"empties", series(30*time.Second, func(i int) int64 { return 1000 + int64(i) }, 60), Never, Never},
		{"steady", series(30*time.Second, func(i int) int64 { return 10000 - int64(i)*10 }, 60), 7 * time.Hour, 9 * time.Hour},
		{"one large file", series(30*time.Second, func(i int) int64 {
			if i > 50 {
				return 5000
			}
			return 10000
		}, 60), Never, Never},
		{"a saw that is emptied now and then", series(30*time.Second, func(i int) int64 { return 10000 - int64(i%30)*100 }, 119), time.Minute, time.Hour},
		{"filled long ago", series(time.Minute, func(i int) int64 { return max(5000, 10000-int64(i)*100) }, 120), Never, Never},
		{"just begun", series(30*time.Second, func(i int) int64 { return 100000 - max(0, int64(i)-100)*1000 }, 120), 20 * time.Minute, 2 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := UntilFull(c.samples); got < c.min || got > c.max {
				t.Errorf("full in %s, want %s to %s", got, c.min, c.max)
			}
		})
	}
}

// A disk that fills at a steady pace is forecast right whatever a fifth of the samples says; one that does not fill never alarms.
func TestForecastIsRobust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slope := rapid.Int64Range(0, 500).Draw(t, "slope")
		n := rapid.IntRange(40, 200).Draw(t, "n")
		const start = 1_000_000
		s := series(30*time.Second, func(i int) int64 { return start - slope*int64(i) }, n)
		for i := 3; i < n-3; i += rapid.IntRange(8, 20).Draw(t, "gap") {
			s[i].FreeBytes = max(0, s[i].FreeBytes+rapid.Int64Range(-start/2, start/2).Draw(t, "spike"))
		}
		got := UntilFull(s)
		if slope == 0 {
			if got != Never {
				t.Fatalf("%s for a disk that does not fill", got)
			}
			return
		}
		want := time.Duration(s[n-1].FreeBytes/slope) * 30 * time.Second
		if want > farOff/2 {
			return
		}
		if got < want/2 || got > want*2 {
			t.Fatalf("%s, want about %s", got, want)
		}
	})
}
