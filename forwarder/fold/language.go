package fold

// language is what one language knows of its reports. A new language is a file with its shapes and a row in languages.
//
// The functions get a line whose message (the text after a logger's prefix and tags) has been found. States are the
// language's own; 0 is "nothing known", and no state may be 255.
type language struct {
	name string
	row  byte // in languages, from 1; 255 for plain

	// opens says which state a line begins that is not known to continue anything; 0: none. It is asked only about lines that
	// begin with one of the bytes first, end in one of last, or have one of shapes.
	opens       func(l *line) uint8
	first, last string
	shapes      []shape
	// takes says whether a line that comes directly after an event in this state belongs to it: within which limit, and the
	// state after it.
	takes func(state uint8, l *line) (uint8, limit)
	// calls is takes for a line with a prefix of its own, of the same origin (process, thread, request, severity) but not
	// necessarily directly after: the next call of a report that is written by several. nil: the language has none.
	calls func(state uint8, l *line) (uint8, bool)
	// joins says into which state a line brings a report of which only the head is known so far, in any language: its first
	// frame, or what comes before that. nil: none of them is known by such lines.
	joins func(l *line) uint8
	// afterBlank is opens for a line directly after an empty one that belongs to the same report.
	afterBlank func(l *line) uint8
	// traits of each state.
	traits []traits
}

// traits of a state.
type traits struct {
	rule   string
	wait   limit // how long the event waits for its next line
	series bool  // a line with a prefix that opens this state may be the first of several calls
	awaits bool  // in the middle of such a series: lines of others may come between
	done   bool  // nothing can follow
	own    bool  // a line that opens this state is never part of a logger's message
	apart  bool  // nor is one that opens this one, if it came a little later than the line before
	head   bool  // names an exception; whose it is and whether it has frames the next lines tell
	blank  bool  // an empty line, which may be the first of a report
	tight  bool  // a line that brings an event into this state follows one that surely belongs to it
	loose  bool  // a line that brings an event into this state belongs to it only if a line after it does
}

// limit is the gap up to which a line still belongs to the event before it.
type limit uint8

const (
	never limit = iota
	soon        // of the same write: shortWait
	later       // of the same process, which writes it line by line: processWait
	waits       // what the configuration says
)

// languages can be named in the configuration; plain is always there, last. The first that knows a line has it.
// The rows are saved: add new ones at the end.
var languages = []*language{python, ruby, golang, java, node, php, perl, dotnet, rust}

func init() {
	for i, l := range languages {
		l.row = byte(i + 1)
	}
	plain.row = 255
}

func languageNamed(name string) *language {
	for _, l := range languages {
		if l.name == name {
			return l
		}
	}
	return nil
}

func languageNames() []string {
	var names []string
	for _, l := range languages {
		names = append(names, l.name)
	}
	return names
}

// limits are the limits as durations.
func limits(wait int64) [waits + 1]int64 {
	return [...]int64{never: 0, soon: shortWait, later: min(processWait, wait), waits: wait}
}
