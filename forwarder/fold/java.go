package fold

import "bytes"

// java knows the stack traces of the JVM, whatever logged them, its dumps of all threads and its last words.
var java = &language{name: "java", opens: javaOpens, first: "EF#", shapes: []shape{shapeJavaFrame}, takes: javaTakes, joins: javaJoins, traits: javaTraits}

// Add new states at the end: they are saved.
const (
	_          uint8 = iota
	javaHead         // "Exception in thread "main" java.lang.X: message"
	javaFrames       // frames, and what stands between them
	javaCause        // "Caused by: java.lang.X: message": the message may go on
	javaDump         // "Full thread dump ..."
	javaHash         // "#": the first line of the JVM's own crash, or not
	javaCrash        // "# A fatal error has been detected by the Java Runtime Environment:"
)

var javaTraits = []traits{
	javaHead:   {rule: "java-trace", wait: waits, own: true, head: true},
	javaFrames: {rule: "java-trace", wait: waits},
	javaCause:  {rule: "java-trace", wait: waits, head: true},
	javaDump:   {rule: "java-thread-dump", wait: waits, own: true},
	javaHash:   {rule: "java-crash", wait: soon},
	javaCrash:  {rule: "java-crash", wait: waits},
}

func javaOpens(l *line) uint8 {
	b := l.msg
	switch {
	case len(b) == 0:
		return 0
	case l.shape == shapeJavaFrame:
		return javaFrames
	case b[0] == 'E' && bytes.HasPrefix(b, []byte("Exception in thread \"")):
		return javaHead
	case b[0] == 'F' && bytes.HasPrefix(b, []byte("Full thread dump ")):
		return javaDump
	case b[0] == '#' && (len(b) == 1 || len(b) == 2 && b[1] == '\r'):
		return javaHash
	}
	return 0
}

func javaJoins(l *line) uint8 {
	switch l.shape {
	case shapeJavaFrame, shapeMore:
		return javaFrames
	case shapeSuppressed:
		return javaCause
	case shapeCausedBy:
		if isCause(l.msg) {
			return javaCause
		}
	}
	return 0
}

func javaTakes(state uint8, l *line) (uint8, limit) {
	switch state {
	case javaHash:
		if bytes.HasPrefix(l.msg, []byte("# A fatal error ")) || bytes.HasPrefix(l.msg, []byte("# There is insufficient memory")) || bytes.HasPrefix(l.msg, []byte("# java.lang.OutOfMemoryError")) {
			return javaCrash, later
		}
		return 0, never
	case javaCrash:
		if len(l.msg) > 0 && l.msg[0] == '#' {
			return javaCrash, waits
		}
		return 0, never
	case javaDump:
		if len(l.msg) == 0 || indented(l) || dumped(l.msg) {
			return javaDump, later
		}
		return 0, never
	}
	if state := javaJoins(l); state != 0 {
		return state, waits
	}
	t := bytes.TrimLeft(l.msg, " \t")
	if indented(l) && (bytes.HasPrefix(t, []byte("[CIRCULAR REFERENCE")) || bytes.HasPrefix(t, []byte("- locked ")) || bytes.HasPrefix(t, []byte("- waiting "))) ||
		bytes.HasPrefix(t, []byte("[CIRCULAR REFERENCE")) {
		return javaFrames, waits
	}
	return 0, never
}

// isCause knows a heading that names a cause: "Caused by: java.lang.X: message", and logback's when it begins with the root.
func isCause(b []byte) bool {
	for _, p := range [][]byte{[]byte("Caused by: "), []byte("Wrapped by: ")} {
		if bytes.HasPrefix(b, p) {
			return isClass(b[len(p):]) || bytes.HasPrefix(b[len(p):], []byte("[CIRCULAR REFERENCE"))
		}
	}
	return false
}

// isClass says that the first word, up to a colon or the end, may be the name of a class: it has a capital after its last dot.
func isClass(b []byte) bool {
	end := bytes.IndexAny(b, ": \r")
	if end < 0 {
		end = len(b)
	} else if b[end] == ' ' && (end+1 == len(b) || b[end+1] != '(') { // .NET and Rhino put a code in parentheses
		return false
	}
	name := b[:end]
	name = name[1+bytes.LastIndexAny(name, ".$"):]
	return len(name) > 0 && (name[0] >= 'A' && name[0] <= 'Z' || name[0] >= 0x80 || isDigit(name[0]) && end > len(name))
}

func dumped(b []byte) bool {
	if b[0] == '"' || b[0] == '=' || b[0] == '}' {
		return true
	}
	for _, p := range dumpLines {
		if bytes.HasPrefix(b, p) {
			return true
		}
	}
	return false
}

var dumpLines = [][]byte{
	[]byte("Threads class SMR info:"), []byte("_java_thread_list="), []byte("0x"), []byte("JNI global ref"), []byte("Heap"), []byte("Found "),
	[]byte("Java stack information "), []byte("which is held by "), []byte("length="), []byte("Locked ownable"),
}
