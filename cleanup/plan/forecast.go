package plan

import (
	"slices"
	"time"
)

// Sample is how much of a disk was free at a moment of the clock that counts from the boot.
type Sample struct {
	Up                    time.Duration
	FreeBytes, FreeInodes int64
}

// windows over which a slope is taken. A short one sees a sudden filling, a long one is not led astray by a single large file.
var windows = []time.Duration{10 * time.Minute, 30 * time.Minute, 2 * time.Hour}

const minSamples = 4 // in a window, for it to say anything

// UntilFull tells when the disk will be full if it goes on as it does; Never where it does not fill. Of each window the median of the slopes
// between any two samples is taken (Theil and Sen), which a quarter of outliers does not move. The soonest counts, but a longer window is asked
// only as long as all shorter ones say that the disk fills: what stopped filling ten minutes ago does not fill.
func UntilFull(samples []Sample) time.Duration {
	if len(samples) == 0 {
		return Never
	}
	last := samples[len(samples)-1]
	soonest := Never
	for _, window := range windows {
		from, _ := slices.BinarySearchFunc(samples, last.Up-window, func(s Sample, t time.Duration) int { return int(s.Up - t) })
		in := samples[from:]
		if len(in) < minSamples || last.Up-in[0].Up < window/4 {
			continue
		}
		soonest = min(soonest,
			until(last.FreeBytes, median(in, func(s Sample) int64 { return s.FreeBytes })),
			until(last.FreeInodes, median(in, func(s Sample) int64 { return s.FreeInodes })))
		if soonest == Never {
			break
		}
	}
	return soonest
}

// farOff is what nobody needs to know more exactly than that it is far off.
const farOff = 90 * 24 * time.Hour

// until is the time in which so much is used up; slope is a change per second.
func until(free int64, slope float64) time.Duration {
	if slope >= 0 || free < 0 {
		return Never
	}
	seconds := float64(free) / -slope
	if seconds > farOff.Seconds() {
		return Never
	}
	return time.Duration(seconds * float64(time.Second))
}

// goesOn tells a disk that fills from one that has taken a single large file: it falls in two quarters of the window at least.
func goesOn(in []Sample, value func(Sample) int64) bool {
	falls := 0
	for q := range 4 {
		a, b := q*(len(in)-1)/4, (q+1)*(len(in)-1)/4
		if value(in[b]) < value(in[a]) {
			falls++
		}
	}
	return falls >= 2
}

// maxSlopes bounds the work: of more samples than this only every so many-th is taken.
const maxSlopes = 64

// median is the median of the slopes between any two samples, per second; 0 for what does not go on.
func median(in []Sample, value func(Sample) int64) float64 {
	step := (len(in) + maxSlopes - 1) / maxSlopes
	var slopes []float64
	for i := 0; i < len(in); i += step {
		for j := i + step; j < len(in); j += step {
			if dt := (in[j].Up - in[i].Up).Seconds(); dt > 0 {
				slopes = append(slopes, float64(value(in[j])-value(in[i]))/dt)
			}
		}
	}
	if len(slopes) == 0 || !goesOn(in, value) {
		return 0
	}
	slices.Sort(slopes)
	return slopes[len(slopes)/2]
}

// Trim drops the samples that no window reaches.
func Trim(samples []Sample) []Sample {
	if len(samples) == 0 {
		return samples
	}
	oldest := samples[len(samples)-1].Up - windows[len(windows)-1]
	from, _ := slices.BinarySearchFunc(samples, oldest, func(s Sample, t time.Duration) int { return int(s.Up - t) })
	return slices.Clone(samples[from:])
}
