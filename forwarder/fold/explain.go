package fold

import "strings"

// Explain says in a sentence what a rule does: the name that an event or Stream.Trace bears.
func Explain(rule string) string {
	if strings.HasPrefix(rule, "fold.rules[") {
		rule = "user-rule"
	}
	return rules[rule]
}

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
	"python-warning":      "a warning of Python, with the line of source",
	"python-crash":        "a fatal error of Python itself, with its threads",
	"go-crash":            "a panic of Go, with its goroutines",
	"go-goroutines":       "goroutines of Go",
	"go-race":             "a data race, as Go's detector reports it",
	"java-trace":          "an exception of the JVM, with its stack and causes",
	"java-thread-dump":    "all threads of a JVM",
	"java-crash":          "what a JVM writes when it dies",
	"node-error":          "an error of Node.js, with its stack, properties and causes",
	"node-crash":          "what Node.js writes about an uncaught error",
	"node-warning":        "a warning of Node.js",
	"node-object":         "an object as console.log prints it",
	"php-error":           "an error as PHP reports it, with its stack",
	"php-trace":           "an exception of PHP, with its stack and those before it",
	"perl-trace":          "a message of Perl's Carp, with its stack",
	"dotnet-exception":    "an exception of .NET, with its stack and those within it",
	"dotnet-crash":        "what .NET writes when it dies without an exception",
	"rust-panic":          "a panic of Rust, with its backtrace",
	"rust-error":          "an error of Rust, with its causes",
	"exception-head":      "names an exception, or goes on with its message; the lines below it tell of what language",
	"announced-block":     "the line above ends in a colon, and this one is indented",
	"announced-trace":     "the line above announces a trace, and this one is indented",
	"user-rule":           "a rule of fold.rules",
}
