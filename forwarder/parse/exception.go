package parse

import "bytes"

// Exception is what a report says of the exception it is about. The slices are of the lines given, or of a copy without colours.
type Exception struct {
	Class   []byte // as the language writes it; "panic" for Go and Rust; none in Perl
	Message []byte // its first line
	Frame   []byte // the first of the program's own frames, not of a library's; none if there is none
}

// What is looked at: a report may have many thousand lines.
const (
	maxReportLines = 400
	maxMessage     = 1024
)

// ExceptionOf reads the report of an exception that was folded by the rules of the language (the name that the fold gives it).
// Where a report holds several, it is that which the others are the causes of.
func ExceptionOf(language string, lines [][]byte) (x Exception, ok bool) {
	if len(lines) > maxReportLines {
		lines = lines[:maxReportLines]
	}
	if language != "ruby" { // which looks at the first few only, mostly
		for _, l := range lines {
			if bytes.IndexByte(l, 0x1b) >= 0 {
				lines = plainLines(lines)
				break
			}
		}
	}
	switch language {
	case "ruby":
		x = rubyException(lines)
	case "python":
		x = pythonException(lines)
	case "java", "dotnet":
		x = namedException(lines)
		x.Frame = atFrame(lines, language == "java")
	case "node":
		x = namedException(lines)
		x.Frame = nodeFrame(lines)
	case "php":
		x = phpException(lines)
	case "perl":
		x = perlException(lines)
	case "go":
		x = goException(lines)
	case "rust":
		x = rustException(lines)
	}
	if len(x.Message) > maxMessage {
		n := maxMessage
		for n > maxMessage-4 && x.Message[n]&0xc0 == 0x80 { // not within a character
			n--
		}
		x.Message = x.Message[:n]
	}
	x.Message = trimEnd(x.Message)
	x.Frame = trimEnd(x.Frame)
	return x, len(x.Class) > 0 || len(x.Frame) > 0 || len(x.Message) > 0
}

func plainLines(lines [][]byte) [][]byte {
	out := make([][]byte, len(lines))
	for i, l := range lines {
		out[i] = plain(l)
	}
	return out
}

// name returns the length of the name of a class at the start of b: letters, digits and what languages put between them.
func name(b []byte) int {
	i := 0
	for i < len(b) {
		c := b[i]
		if c == ':' && i+2 < len(b) && b[i+1] == ':' && b[i+2] >= 'A' {
			i += 2
			continue
		}
		if c != '_' && c != '$' && c != '.' && c != '\\' && c != '`' && !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && c < 0x80 {
			break
		}
		i++
	}
	for i > 0 && b[i-1] == '.' {
		i--
	}
	return i
}

// classColon reads "Class: message", "Class", "Class [CODE]: message", "Class (0x80004005): message".
func classColon(b []byte, sure bool) (class, message []byte, ok bool) {
	n := name(b)
	if n < 2 || isDigit(b[0]) {
		return nil, nil, false
	}
	class, rest := b[:n], b[n:]
	if !sure && !isExceptionName(class) {
		return nil, nil, false
	}
	if len(rest) > 2 && rest[0] == ' ' && (rest[1] == '[' || rest[1] == '(') {
		if i := bytes.IndexByte(rest, ':'); i > 0 && (rest[i-1] == ']' || rest[i-1] == ')') {
			rest = rest[i:]
		}
	}
	switch {
	case len(rest) == 0:
		return class, nil, true
	case rest[0] == ':':
		return class, bytes.TrimLeft(rest[1:], " "), true
	}
	return nil, nil, false
}

// isExceptionName knows the name of a class that can only be an exception's: with a package, or that says so.
func isExceptionName(b []byte) bool {
	for _, s := range [...]string{"Error", "Exception", "Throwable", "Warning", "Rejection", "Interrupt", "Exit", "Group", "Timeout", "Fault", "Failure"} {
		if len(b) >= len(s) && string(b[len(b)-len(s):]) == s {
			return true
		}
	}
	if bytes.IndexByte(b, '\\') > 0 { // a namespace of PHP
		return true
	}
	i := bytes.LastIndexByte(b, '.')
	return i > 0 && i+1 < len(b) && b[i+1] >= 'A' && b[i+1] <= 'Z'
}

var beforeNames = [][]byte{
	[]byte("Unhandled exception. "), []byte("Unhandled Exception: "), []byte("PHP Fatal error:  Uncaught "), []byte("Fatal error: Uncaught "), []byte("PHP Fatal error:  "),
	[]byte("Uncaught "), []byte("PHP Warning:  "), []byte("PHP Notice:  "), []byte("caught "), []byte("["),
}

// namedException finds the first line, before any frame, that begins with the name of an exception; else one that holds such a name.
func namedException(lines [][]byte) (x Exception) {
	for pass := range 2 {
		for _, l := range lines {
			b := bytes.TrimLeft(l, " \t")
			if bytes.HasPrefix(b, []byte("at ")) && len(b) < len(l) || bytes.HasPrefix(b, []byte("#0 ")) {
				break
			}
			if bytes.HasPrefix(b, []byte("Exception in thread \"")) {
				if i := bytes.Index(b, []byte("\" ")); i > 0 {
					b = b[i+2:]
				}
			}
			sure := false
			for _, p := range beforeNames {
				if rest := bytes.TrimPrefix(b, p); len(rest) < len(b) {
					b, sure = rest, bytes.HasSuffix(p, []byte("Uncaught ")) || p[0] == 'U'
				}
			}
			if class, message, ok := classColon(b, sure); ok {
				return Exception{Class: class, Message: message}
			}
			if pass == 0 {
				continue
			}
			for from := 0; from < len(b); {
				i := bytes.Index(b[from:], []byte(": "))
				if i < 0 {
					break
				}
				i += from
				from = i + 2
				start := i
				for start > 0 && name(b[start-1:i]) == i-start+1 {
					start--
				}
				if start < i && isExceptionName(b[start:i]) {
					return Exception{Class: b[start:i], Message: b[i+2:]}
				}
			}
		}
	}
	return x
}
