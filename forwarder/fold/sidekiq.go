package fold

// Sidekiq reports a failed job in three calls of one thread, at the same severity: a JSON object with the job, "Class: message", and
// the frames. Lines of other threads come between; the thread id in the prefix tells them apart.

// fromThread says that the line's prefix names a thread, as only Sidekiq's does.
func (l *line) fromThread() bool { return l.pre.tid[1] > 0 && l.pre.sev != 'I' && l.pre.sev != 'D' }

// sidekiqTakes judges a line without prefix directly after a call. Lines of a message look like anything; they are joined because
// the stream prefixes its lines.
func sidekiqTakes(state uint8, l *line) (uint8, limit) {
	if l.shape == shapeFrame && state == sidekiqFrames {
		return sidekiqFrames, waits
	}
	return 0, never
}

func sidekiqCalls(state uint8, l *line) (uint8, bool) {
	switch {
	case state == sidekiqContext && l.shape == shapeColon:
		return sidekiqClass, true
	case state == sidekiqContext && l.shape == shapeFrame, // an error without class or message
		(state == sidekiqClass || state == sidekiqAlone) && l.shape == shapeFrame:
		return sidekiqFrames, true
	}
	return 0, false
}
