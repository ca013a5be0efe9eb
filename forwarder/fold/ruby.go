package fold

// ruby knows what Ruby, Rails, ActiveJob, rake and Sidekiq write about an exception.
var ruby = &language{name: "ruby", opens: rubyOpens, shapes: rubyShapes, takes: rubyTakes, calls: rubyCalls, joins: rubyJoins, traits: rubyTraits}

// rubyShapes are those of the lines that begin something.
var rubyShapes = []shape{shapeBlank, shapeEmpty, shapeClass, shapeJobError, shapeColon, shapeSuffix, shapeFrame, shapeCrash, shapeThread, shapeFrom, shapeAborted, shapeContext}

// The states of a Ruby report. They are saved with a source's position: add new ones at the end.
const (
	_ uint8 = iota

	// A report of Rails (rails.go).
	railsBlank        // two spaces came: the first line of a report
	railsEmpty        // an empty line came: so a report began before Rails 5
	railsClosed       // "Class (message):" came on its own
	railsMessage      // "Class (message" came after two spaces, further lines of it may follow
	railsOldMessage   // the same after an empty line
	railsCauses       // "Causes:" came
	railsSource       // annotated source came
	railsBeforeFrames // the second two spaces came
	railsFrames
	// The same from "Information for:" on: these frames may be followed by those of a cause.
	railsInfo
	railsInfoSource
	railsInfoBefore
	railsInfoFrames
	railsInfoGap
	// Frames without two spaces before them: before Rails 5, when two empty lines ended a report.
	railsOldFrames
	railsOldGap
	railsOldEnd

	// An error of ActiveJob.
	jobMessage // the message goes on
	jobClosed
	jobFrames

	// An exception in somebody's own words, with its backtrace below.
	traceHead
	traceFrames

	// What Ruby writes when it dies, and Exception#full_message.
	crashThread
	crashMessage
	crashFrames
	crashTail

	// rake.
	rakeMessage
	rakeFrames
	rakeGap
	rakeTasks
	rakeDone

	// Sidekiq (sidekiq.go).
	sidekiqContext
	sidekiqClass
	sidekiqAlone
	sidekiqFrames

	// What a thread died of, while the process goes on: what follows may be anybody's, if no frame comes.
	threadMessage
	threadDoubt
)

var rubyTraits = []traits{
	railsBlank:        {rule: "rails-report", wait: waits, awaits: true, series: true},
	railsEmpty:        {rule: "rails-report", wait: soon, blank: true},
	railsClosed:       {rule: "rails-report", wait: waits},
	railsMessage:      {rule: "rails-report", wait: waits, awaits: true},
	railsOldMessage:   {rule: "rails-report", wait: waits},
	railsCauses:       {rule: "rails-report", wait: waits, awaits: true},
	railsSource:       {rule: "rails-report", wait: waits, awaits: true},
	railsBeforeFrames: {rule: "rails-report", wait: waits, awaits: true},
	railsFrames:       {rule: "rails-report", wait: waits},
	railsInfo:         {rule: "rails-report", wait: waits, awaits: true},
	railsInfoSource:   {rule: "rails-report", wait: waits, awaits: true},
	railsInfoBefore:   {rule: "rails-report", wait: waits, awaits: true},
	railsInfoFrames:   {rule: "rails-report", wait: waits},
	railsInfoGap:      {rule: "rails-report", wait: waits},
	railsOldFrames:    {rule: "rails-report", wait: waits},
	railsOldGap:       {rule: "rails-report", wait: soon},
	railsOldEnd:       {rule: "rails-report", wait: soon, done: true},
	jobMessage:        {rule: "activejob-error", wait: waits},
	jobClosed:         {rule: "activejob-error", wait: waits},
	jobFrames:         {rule: "activejob-error", wait: waits},
	traceHead:         {rule: "ruby-backtrace", wait: soon, series: true, head: true},
	traceFrames:       {rule: "ruby-backtrace", wait: waits},
	crashThread:       {rule: "ruby-crash", wait: waits},
	crashMessage:      {rule: "ruby-crash", wait: waits},
	crashFrames:       {rule: "ruby-crash", wait: waits},
	crashTail:         {rule: "ruby-crash", wait: soon},
	rakeMessage:       {rule: "rake-report", wait: waits},
	rakeFrames:        {rule: "rake-report", wait: waits},
	rakeGap:           {rule: "rake-report", wait: waits},
	rakeTasks:         {rule: "rake-report", wait: waits},
	rakeDone:          {rule: "rake-report", wait: soon, done: true},
	sidekiqContext:    {rule: "sidekiq-report", wait: waits, awaits: true, series: true},
	sidekiqClass:      {rule: "sidekiq-report", wait: waits, awaits: true},
	sidekiqAlone:      {rule: "sidekiq-report", wait: waits, series: true},
	sidekiqFrames:     {rule: "sidekiq-report", wait: waits},
	threadMessage:     {rule: "ruby-crash", wait: waits},
	threadDoubt:       {rule: "ruby-crash", wait: soon, loose: true},
}

func rubyOpens(l *line) uint8 {
	switch l.shape {
	case shapeBlank:
		return railsBlank
	case shapeEmpty:
		return railsEmpty
	case shapeClass:
		if closed(l.msg) {
			return railsClosed
		}
	case shapeJobError:
		if closed(l.msg) {
			return jobClosed
		}
		return jobMessage
	case shapeColon:
		if l.fromThread() {
			return sidekiqAlone
		}
		return traceHead
	case shapeSuffix:
		return traceHead
	case shapeFrame:
		return traceFrames
	case shapeCrash:
		return crashMessage
	case shapeThread:
		return crashThread
	case shapeFrom:
		return crashFrames
	case shapeAborted:
		return rakeMessage
	case shapeContext:
		if l.fromThread() {
			return sidekiqContext
		}
	}
	return 0
}

// rubyJoins: frames below somebody's own words.
func rubyJoins(l *line) uint8 {
	switch l.shape {
	case shapeFrame:
		return traceFrames
	case shapeFrom, shapeLevels:
		return crashFrames
	}
	return 0
}

func rubyTakes(state uint8, l *line) (uint8, limit) {
	if l.shape == shapeRequest {
		return 0, never
	}
	switch {
	case state <= railsOldEnd:
		return railsTakes(state, l)
	case state <= jobFrames:
		return jobTakes(state, l)
	case state <= traceFrames:
		return traceTakes(state, l)
	case state <= crashTail:
		return crashTakes(state, l)
	case state <= rakeDone:
		return rakeTakes(state, l)
	case state >= threadMessage:
		return threadTakes(state, l)
	}
	return sidekiqTakes(state, l)
}

func rubyCalls(state uint8, l *line) (uint8, bool) {
	switch {
	case state <= railsOldEnd:
		return railsCalls(state, l)
	case state == traceHead || state == traceFrames: // Unicorn, and whoever logs a backtrace line by line
		return traceFrames, l.shape == shapeFrame
	}
	return sidekiqCalls(state, l)
}

// jobTakes: ActiveJob writes "Error performing ...: Class (message):" and the whole backtrace in one call.
func jobTakes(state uint8, l *line) (uint8, limit) {
	switch {
	case l.shape == shapeFrame:
		return jobFrames, waits
	case state == jobMessage && closed(l.msg):
		return jobClosed, later
	case state == jobMessage:
		return jobMessage, later
	}
	return 0, never
}

// traceTakes: "Class: message" or "message (Class)" of somebody's own, and frames below it.
func traceTakes(state uint8, l *line) (uint8, limit) {
	switch l.shape {
	case shapeFrame:
		return traceFrames, waits
	case shapeFrom, shapeLevels:
		return crashFrames, waits
	case shapeCausedBy:
		if state == traceFrames {
			return traceHead, soon
		}
	}
	return 0, never
}

// crashTakes: a dying Ruby writes line by line, the message as it is, frames behind a tab, and the cause after them without any
// heading. A message ends with the first frame; without frames, with the first pause.
func crashTakes(state uint8, l *line) (uint8, limit) {
	switch l.shape {
	case shapeFrom, shapeLevels:
		if state == crashMessage || state == crashFrames {
			return crashFrames, waits
		}
	case shapeCrash:
		switch state {
		case crashTail:
		case crashThread:
			return threadMessage, later
		default:
			return crashMessage, later
		}
	case shapeEmpty:
		if state == crashFrames { // full_message in a call of its own ends so
			return crashTail, soon
		}
	}
	if state == crashMessage {
		return crashMessage, soon
	}
	return 0, never
}

// threadTakes: as crashTakes, but a message of several lines is believed only if a frame comes below it.
func threadTakes(state uint8, l *line) (uint8, limit) {
	switch l.shape {
	case shapeFrom, shapeLevels:
		return crashFrames, waits
	case shapeCrash: // the cause, which comes directly behind the one frame
		if state == threadMessage {
			return threadMessage, soon
		}
		return 0, never
	case shapeCaret:
		return threadMessage, soon
	}
	if state == threadMessage && l.shape != shapeEmpty && indented(l) {
		return threadMessage, soon
	}
	return threadDoubt, soon
}

// rakeTakes: rake aborted!, message, frames, the same for each cause, tasks, hint.
func rakeTakes(state uint8, l *line) (uint8, limit) {
	switch {
	case state == rakeDone:
		return 0, never
	case l.shape == shapeFullTrace:
		return rakeDone, waits
	case state == rakeTasks:
		return 0, never
	case l.shape == shapeTasks:
		return rakeTasks, waits
	case l.shape == shapeFrame && state != rakeGap:
		return rakeFrames, waits
	case l.shape == shapeCausedBy && state != rakeMessage:
		return rakeMessage, later
	case state == rakeMessage:
		return rakeMessage, later
	case l.shape == shapeEmpty:
		return rakeGap, soon
	}
	return 0, never
}

// closed says that the message ends as in "Class (message):".
func closed(b []byte) bool {
	n := len(b)
	if n > 0 && b[n-1] == '\r' {
		n--
	}
	return n > 2 && b[n-1] == ':' && b[n-2] == ')'
}
