package fold

// Explain says in a sentence what a rule does: the name that an event or Stream.Trace bears.
func Explain(rule string) string { return rules[rule] }

var rules = map[string]string{
	"line":                "begins an event, or is one",
	"prefix-continuation": "the stream's lines have a prefix, this one has none: it continues the one before",
	"rails-report":        "part of the report of an exception by Rails",
	"activejob-error":     "part of the error of an ActiveJob, with its backtrace",
	"ruby-backtrace":      "an exception in the program's own words, with its backtrace",
	"ruby-crash":          "what Ruby writes about an uncaught exception, or Exception#full_message",
	"rake-report":         "a task of rake that failed",
	"sidekiq-report":      "one of the calls by which Sidekiq reports a failed job",
	"python-traceback":    "a traceback of Python",
	"go-crash":            "a panic of Go, with its goroutines",
	"announced-block":     "the line above ends in a colon, and this one is indented",
	"announced-trace":     "the line above announces a trace, and this one is indented",
	"user-rule":           "a rule of fold.rules",
}
