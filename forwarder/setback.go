package forwarder

import "math"

// setBack takes a step back of the wall clock, as a fresh host makes it when it gets its time, out of all that is to happen at a
// time: or the files would not be looked at, nor their last lines end, until the clock is where it was. What pends at the end of
// a source ends now: when its lines were read, in the new time, is not known.
func (l *loop) setBack(by int64) {
	l.log.Warn("the clock was set back", "seconds", float64(by)/1e9)
	l.lastRun -= by
	l.began -= by
	for _, b := range l.out.builders {
		b.first -= by
	}
	for _, s := range l.sources {
		s.nextLook, s.lastPoll = 0, 0
		s.eofAt -= by
		s.lastData -= by
		s.clock = 0
		for _, f := range s.files {
			if f.passed > 0 {
				f.passed -= by
			}
			f.tailAt -= by
		}
		for _, st := range s.streams {
			if s.eof {
				st.fold.Tick(math.MaxInt64, st.emit)
			}
		}
		l.account(s)
	}
}
