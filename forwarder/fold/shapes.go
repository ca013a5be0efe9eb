package fold

import "bytes"

// shape is what a message looks like, as far as reports are made of it.
type shape uint8

const (
	shapeOther        shape = iota
	shapeEmpty              // nothing
	shapeBlank              // two spaces: how Rails writes an empty line of a report
	shapeIndented           // begins with a blank or tab
	shapeSource             // "    12: text": annotated source of a template
	shapeFrame              // "app/models/order.rb:15:in `settle!'", "app/views/orders/show.html.erb:5"
	shapeFrom               // TAB "from app.rb:5:in `value'": frame of a crash
	shapeLevels             // TAB " ... 28 levels..."
	shapeJavaFrame          // TAB "at Billing.main(Billing.java:37)"
	shapeNodeFrame          // "    at parse (/app/server.js:5:33)"
	shapeNetFrame           // "   at Shop.Cart.Add(String sku) in /app/Cart.cs:line 12"
	shapePerlFrame          // TAB "main::inner("y") called at /app/job.pl line 7"
	shapeMore               // TAB "... 3 more"
	shapeSuppressed         // TAB "Suppressed: java.lang.X: text"
	shapeCaret              // "    ^^^^" under a line of source
	shapeIndentedLast       // none: all from shapeIndented up to here begin with a blank
	shapeCrash              // "app.rb:8:in `value': message (Class)"
	shapeThread             // "#<Thread:0x... run> terminated with exception (report_on_exception is true):"
	shapeClass              // "Class (message"
	shapeColon              // "Class: message"
	shapeSuffix             // "message (Class)"
	shapeCausedBy           // "Caused by:", "Causes:"
	shapeInfo               // "Information for: Class (message):"
	shapeAborted            // "rake aborted!"
	shapeTasks              // "Tasks: TOP => shop:boom"
	shapeFullTrace          // "(See full trace by running task with --trace)"
	shapeJobError           // "Error performing FailingJob (Job ID: ...) from Async(default) in 2ms: Class (message):"
	shapeContext            // {"context":"Job raised exception",...}: Sidekiq's first call
	shapePHPFrame           // "#0 /app/index.php(6): Cart->add()"
	shapeStackTrace         // "Stack trace:" of PHP
	shapeScript             // "/app/server.js:28", where Node found what it throws
	shapeRequest            // a line of Rails' own request log: surely an event of its own
	shapeLast               // none: how many there are
)

// shapeOf is called for every line whose place is not plain from its prefix; the first and last bytes decide nearly always.
func shapeOf(b []byte) shape {
	if n := len(b); n > 0 && b[n-1] == '\r' { // of a terminal
		b = b[:n-1]
	}
	n := len(b)
	if n == 0 {
		return shapeEmpty
	}
	last := b[n-1]
	switch c := b[0]; {
	case c == ' ':
		switch {
		case n > 2 && b[1] >= 0x80: // " ⨯ Error: text" of Next.js
			return shapeOther
		case n == 2 && b[1] == ' ':
			return shapeBlank
		case isSource(b):
			return shapeSource
		case isFrame(b):
			return shapeFrame
		}
		return indentedShape(b)
	case c == '\t':
		switch {
		case bytes.HasPrefix(b, []byte("\tfrom ")) && hasLineNumber(b):
			return shapeFrom
		case bytes.HasPrefix(b, []byte("\t ... ")) && bytes.HasSuffix(b, []byte(" levels...")):
			return shapeLevels
		case last == '\'' && isFrame(b): // of Rack and Sinatra
			return shapeFrame
		}
		return indentedShape(b)
	case c >= 'A' && c <= 'Z':
		if s := capitalShape(b); s != shapeOther {
			return s
		}
	case c == '(' && bytes.HasPrefix(b, []byte("(See full trace by running task with --trace)")):
		return shapeFullTrace
	case c == '#':
		if last == ':' && bytes.HasPrefix(b, []byte("#<Thread:")) && bytes.Contains(b, []byte(" terminated with exception")) {
			return shapeThread
		}
		if bytes.HasPrefix(b, []byte("#<Class:0x")) {
			return anonymousClass(b)
		}
		if n > 3 && isDigit(b[1]) && isPHPFrame(b) {
			return shapePHPFrame
		}
	case c == '{' && bytes.HasPrefix(b, []byte(`{"context":`)):
		return shapeContext
	}
	switch last {
	case '\'':
		if isFrame(b) {
			return shapeFrame
		}
	case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if isScript(b) {
			return shapeScript
		}
		if isFrame(b) {
			return shapeFrame
		}
	case ')':
		if isCrash(b) {
			return shapeCrash
		}
		if endsInClass(b) {
			return shapeSuffix
		}
	case ':':
		if isSinatra(b) {
			return shapeColon
		}
	case '!':
		if n < 40 && bytes.HasSuffix(b, []byte(" aborted!")) && bytes.Count(b, []byte(" ")) == 1 {
			return shapeAborted
		}
	case 'n':
		if bytes.HasSuffix(b, []byte("': unhandled exception")) && isCrash(b) {
			return shapeCrash
		}
	}
	return shapeOther
}

// capitalShape knows the shapes that begin with a capital letter.
func capitalShape(b []byte) shape {
	switch b[0] {
	case 'C':
		switch {
		case bytes.HasPrefix(b, []byte("Caused by:")), string(b) == "Causes:":
			return shapeCausedBy
		case bytes.HasPrefix(b, []byte("Completed ")) && len(b) > 14 && digits(b[10:], 3) && b[13] == ' ':
			return shapeRequest
		}
	case 'E':
		if bytes.HasPrefix(b, []byte("Error performing ")) && bytes.Contains(b, []byte(" (Job ID: ")) {
			return shapeJobError
		}
	case 'I':
		if bytes.HasPrefix(b, []byte("Information for: ")) || bytes.HasPrefix(b, []byte("Information for cause: ")) {
			return shapeInfo
		}
	case 'P':
		if bytes.HasPrefix(b, []byte("Processing by ")) && bytes.Contains(b, []byte("#")) {
			return shapeRequest
		}
	case 'S':
		if string(b) == "Stack trace:" {
			return shapeStackTrace
		}
		if bytes.HasPrefix(b, []byte("Started ")) && bytes.Contains(b, []byte(` "/`)) && bytes.Contains(b, []byte(" for ")) {
			return shapeRequest
		}
	case 'T':
		if bytes.HasPrefix(b, []byte("Tasks: TOP => ")) {
			return shapeTasks
		}
	}
	switch i := constant(b); {
	case i == 0:
	case i+1 < len(b) && b[i] == ' ' && b[i+1] == '(':
		return shapeClass
	case i+1 < len(b) && b[i] == ':' && b[i+1] == ' ':
		return shapeColon
	}
	return shapeOther
}

// anonymousClass is the shape of a message that begins with the name Ruby gives to a class without one.
func anonymousClass(b []byte) shape {
	i := bytes.IndexByte(b, '>')
	switch {
	case i < 0:
	case bytes.HasPrefix(b[i:], []byte("> (")):
		return shapeClass
	case bytes.HasPrefix(b[i:], []byte(">: ")):
		return shapeColon
	}
	return shapeOther
}

// constant returns the length of the Ruby constant (Errno::ECONNREFUSED) at the start of b.
func constant(b []byte) int {
	i := 0
	for {
		if i >= len(b) || b[i] < 'A' || b[i] > 'Z' {
			return 0
		}
		for i < len(b) && isWord(b[i]) {
			i++
		}
		if i+2 >= len(b) || b[i] != ':' || b[i+1] != ':' {
			return i
		}
		i += 2
	}
}

// isSource knows a line of annotated source: blanks, a number, a colon.
func isSource(b []byte) bool {
	i := 0
	for i < len(b) && b[i] == ' ' {
		i++
	}
	d := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return d >= 4 && i > d && i < len(b) && b[i] == ':' && (i+1 == len(b) || b[i+1] == ' ')
}

// inMethod finds ":in `m'" or, from Ruby 3.4 on, ":in 'C#m'" at the end of b, and returns where it begins.
func inMethod(b []byte) int {
	for i := len(b) - 2; i > 4; i-- {
		if c := b[i]; c == '`' || c == '\'' {
			if b[i-1] != ' ' || string(b[i-4:i]) != ":in " {
				return -1
			}
			return i - 4
		}
	}
	return -1
}

// isFrame knows a line of a backtrace by its end: ":15:in `settle!'", ":15:in 'Order#settle!'", or ":5" of a path.
func isFrame(b []byte) bool {
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	if len(b) < 3 {
		return false
	}
	last := b[len(b)-1]
	if last == '\'' {
		i := inMethod(b)
		return i > 1 && numbered(b[:i]) > 0
	}
	if !isDigit(last) {
		return false
	}
	i := numbered(b)
	if i <= 0 {
		return false
	}
	// A line of a template has no method. What is before the number must look like a path, not like a host with its port.
	p := bytes.TrimLeft(b[:i], " ")
	slash := bytes.LastIndexByte(p, '/')
	return slash >= 0 && bytes.IndexByte(p[slash:], '.') > 0 && bytes.IndexByte(p, ' ') < 0 && !bytes.Contains(p, []byte("//"))
}

// numbered returns where ":15" begins that b ends in; 0 if it does not.
func numbered(b []byte) int {
	i := len(b)
	for i > 0 && isDigit(b[i-1]) {
		i--
	}
	if i == len(b) || i < 2 || b[i-1] != ':' {
		return 0
	}
	return i - 1
}

// hasLineNumber knows ":15" anywhere in b.
func hasLineNumber(b []byte) bool {
	for i := range len(b) - 1 {
		if b[i] == ':' && isDigit(b[i+1]) {
			return true
		}
	}
	return false
}

// isCrash knows the first line of a crash, "file:8:in `m': message (Class)". A frame at its start is what counts: the class
// must be at the end of the first line, however many lines the message has.
func isCrash(b []byte) bool {
	i := bytes.Index(b, []byte("': "))
	if i < 0 || !isFrame(b[:i+1]) {
		return false
	}
	return endsInClass(b) || bytes.HasSuffix(b, []byte("': unhandled exception"))
}

// isSinatra knows "2026-11-21 09:15:36 - Class - message:".
func isSinatra(b []byte) bool {
	const stamp = "2026-11-21 09:15:36 - "
	if len(b) < len(stamp)+6 || !isDigit(b[0]) || b[4] != '-' || b[7] != '-' || b[10] != ' ' || b[13] != ':' || b[16] != ':' || string(b[19:22]) != " - " {
		return false
	}
	b = b[len(stamp):]
	n := constant(b)
	return n > 0 && bytes.HasPrefix(b[n:], []byte(" - "))
}

// endsInClass knows "message (Class)".
func endsInClass(b []byte) bool {
	i := bytes.LastIndexByte(b, '(')
	if i < 1 || b[len(b)-1] != ')' || b[i-1] != ' ' {
		return false
	}
	c := b[i+1 : len(b)-1]
	return len(c) > 0 && constant(c) == len(c)
}

// announces knows a line whose last word says that a trace follows: "slow trace", "Stack trace:", "backtrace".
func announces(b []byte) bool {
	n := len(b)
	for n > 0 && (b[n-1] == ':' || b[n-1] == ' ' || b[n-1] == '\r') {
		n--
	}
	if n < 5 || b[n-1]|0x20 != 'e' && b[n-1]|0x20 != 'k' {
		return false
	}
	if !bytes.EqualFold(b[n-5:n], []byte("trace")) {
		return n >= 9 && bytes.EqualFold(b[n-9:n], []byte("traceback"))
	}
	i := n - 5
	for i > 0 && isWord(b[i-1]) {
		i--
	}
	return i == n-5 || bytes.EqualFold(b[i:n], []byte("backtrace")) || bytes.EqualFold(b[i:n], []byte("stacktrace"))
}

// isStructured knows a line that another logger wrote whole: a JSON object, or keys with values.
func isStructured(b []byte) bool {
	switch n := len(b); {
	case n < 8:
	case b[0] == '{':
		return b[1] == '"' && b[n-1] == '}'
	case b[0] == 't' || b[0] == 'l':
		return bytes.HasPrefix(b, []byte("time=")) || bytes.HasPrefix(b, []byte("ts=")) || bytes.HasPrefix(b, []byte("level="))
	}
	return false
}

// isAccess knows a line of a web server's access log by its time, 21/Nov/2026:09:15:36, which no logger writes before a message.
func isAccess(b []byte) bool {
	b = b[:min(len(b), 256)]
	for i := 2; i+15 <= len(b); i++ {
		n := bytes.IndexByte(b[i:], '/')
		if n < 0 {
			return false
		}
		i += n
		if i+15 <= len(b) && b[i+4] == '/' && b[i+9] == ':' && digits(b[i-2:], 2) && isMonth(b[i+1:]) && digits(b[i+5:], 4) && hhmmss(b[i+10:]) > 0 {
			return true
		}
	}
	return false
}

// endsInColon knows a line that announces what is indented below it.
func endsInColon(b []byte) bool {
	n := len(b)
	if n > 0 && b[n-1] == '\r' {
		n--
	}
	return n > 1 && b[n-1] == ':'
}

func isWord(c byte) bool {
	return c == '_' || isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z'
}
