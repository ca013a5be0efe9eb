package fold

import "bytes"

// Rails writes the report of an exception in one of these layouts (DebugExceptions#log_error):
//
//	3.2 to 4.2     empty line, "Class (message):", source, frames indented by two, two empty lines: one call
//	5.0.0          as 5.1, but each line is a call with its own prefix
//	5.0.1 to 5.2   "  " / "Class (message):" / source / "  " / frames: each / a call
//	6.0 to 7.1     "  ", "Class (message):", source, "  ", frames: one call
//	7.2            as 6.0, after the head an empty line, "Causes:", and "Class (message)" for each cause
//	8.0            "  ", with causes "Class (message)", "Caused by: Class (message)" for each, empty line, "Information for: Class
//	               (message):", source, "  ", frames, and for each cause an empty line, "Information for cause: ...", "  ", frames
//
// In one call only the first line has the logger's prefix; a tag is repeated on each line that Rails joined, but not on the lines
// of a message of several lines, and not after the newlines that 7.2 and 8.0 put before their headings.

// railsTakes judges a line that comes directly after a report in one call.
func railsTakes(state uint8, l *line) (uint8, limit) {
	switch state {
	case railsBlank:
		if l.shape == shapeClass && (l.pre.kind != bare || unfinished(l.msg)) {
			return railsMessage, waits
		}
	case railsEmpty:
		// An empty line alone is weak evidence, so what follows must look like a message up to its end.
		if l.shape == shapeClass && closed(l.msg) {
			return railsClosed, soon
		}
		if l.shape == shapeClass && unfinished(l.msg) {
			return railsOldMessage, soon
		}
	case railsClosed, railsSource, railsInfoSource, railsMessage, railsOldMessage, railsCauses, railsInfo:
		info := state == railsInfo || state == railsInfoSource
		switch l.shape {
		case shapeSource:
			return either(info, railsInfoSource, railsSource), waits
		case shapeBlank:
			return either(info, railsInfoBefore, railsBeforeFrames), waits
		case shapeFrame:
			if state != railsMessage && state != railsCauses && state != railsInfo { // there, two spaces come first
				return railsOldFrames, waits
			}
		case shapeCausedBy:
			return railsCauses, later
		case shapeInfo:
			return railsInfo, later
		}
		if state != railsClosed && state != railsSource && state != railsInfoSource {
			// The report is not whole yet: what comes now is still the message, whatever it looks like.
			return state, later
		}
	case railsBeforeFrames, railsInfoBefore, railsFrames, railsInfoFrames:
		info := state == railsInfoBefore || state == railsInfoFrames
		switch {
		case l.shape == shapeFrame:
			return either(info, railsInfoFrames, railsFrames), waits
		case l.shape == shapeEmpty && info:
			return railsInfoGap, later
		}
	case railsInfoGap:
		if l.shape == shapeInfo {
			return railsInfo, later
		}
	case railsOldFrames:
		switch l.shape {
		case shapeFrame:
			return railsOldFrames, waits
		case shapeEmpty:
			return railsOldGap, soon
		}
	case railsOldGap:
		if l.shape == shapeEmpty {
			return railsOldEnd, soon
		}
	}
	return 0, never
}

// unfinished says that "Class (message" ends with its line, or does not end in it: then "Word (in parentheses) and more" is not
// taken for an exception.
func unfinished(b []byte) bool {
	b = bytes.TrimSuffix(b, []byte("\r"))
	return closed(b) || b[len(b)-1] == ')' || bytes.Count(b, []byte("(")) > bytes.Count(b, []byte(")"))
}

func either(a bool, yes, no uint8) uint8 {
	if a {
		return yes
	}
	return no
}

// railsCalls judges a line with a prefix (or only a tag) of its own: the next call of the same report.
func railsCalls(state uint8, l *line) (uint8, bool) {
	switch l.shape {
	case shapeSource, shapeCausedBy, shapeInfo:
	case shapeFrame:
		if state <= railsSource || state == railsInfo || state == railsInfoSource {
			return 0, false // two spaces come first in every layout of several calls
		}
	case shapeBlank:
		if l.fresh { // another thread's report begins
			return 0, false
		}
	case shapeClass:
		if state != railsBlank && state != railsCauses {
			return 0, false
		}
	case shapeEmpty:
		if state != railsMessage && state != railsCauses && state != railsInfoFrames {
			return 0, false
		}
	default:
		return 0, false
	}
	next, lim := railsTakes(state, l)
	return next, lim != never
}

// failed knows "Completed 500 Internal Server Error in 24ms", which comes directly before the report of an exception.
func failed(b []byte) bool { return b[0] == 'C' && (b[10] == '4' || b[10] == '5') }
