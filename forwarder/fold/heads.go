package fold

import "bytes"

// The first line of a report is known by the name of an exception in it. It alone proves nothing: it may be a message about one.

// maxNamed is how far from its start a line is searched for the name.
const maxNamed = 512

// names says that the line names an exception: a word that ends in Error, Exception or the like, and then a colon, perhaps behind a code
// in brackets, or nothing more: "request failed: HttpError: text", "Error [ERR_X]: text", "java.lang.NullPointerException".
func names(b []byte) bool {
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	if len(b) < 5 || b[0] == '{' || b[0] == '"' { // JSON
		return false
	}
	if len(b) > maxNamed {
		b = b[:maxNamed]
	} else if endsInName(bytes.TrimSuffix(b, []byte(" {"))) {
		return true
	}
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], ':')
		if i < 0 {
			return false
		}
		i += from
		from = i + 1
		if i < 5 || i+1 < len(b) && b[i+1] != ' ' {
			continue
		}
		name := b[:i]
		if c := name[i-1]; c == ']' || c == ')' {
			open := bytes.LastIndexByte(name, opener(c))
			if open < 5 || name[open-1] != ' ' {
				continue
			}
			name = name[:open-1]
		}
		if endsInName(name) {
			return true
		}
	}
}

func opener(c byte) byte {
	if c == ']' {
		return '['
	}
	return '('
}

// endsInName knows the end of the name of an exception.
func endsInName(b []byte) bool {
	if len(b) < 5 {
		return false
	}
	switch b[len(b)-1] {
	case 'r':
		return bytes.HasSuffix(b, []byte("Error"))
	case 'n':
		return bytes.HasSuffix(b, []byte("Exception")) || bytes.HasSuffix(b, []byte("UnhandledPromiseRejection"))
	case 'e':
		return bytes.HasSuffix(b, []byte("Throwable")) || string(b) == "Trace"
	case 'g':
		return bytes.HasSuffix(b, []byte("Warning"))
	}
	return false
}

// isQualified knows a line that begins with a class and its package, as the JVM and .NET print it: "java.io.IOException: message".
func isQualified(b []byte) bool {
	if len(b) > 0 && b[len(b)-1] == '\r' {
		b = b[:len(b)-1]
	}
	n := qualified(b)
	if n == 0 {
		return false
	}
	switch rest := b[n:]; {
	case len(rest) == 0:
		return bytes.HasSuffix(b, []byte("Exception")) || bytes.HasSuffix(b, []byte("Error"))
	case rest[0] == ':':
		return len(rest) == 1 || rest[1] == ' '
	case rest[0] == ' ' && len(rest) > 4 && rest[1] == '(':
		i := bytes.IndexByte(rest, ')')
		return i > 0 && i+1 < len(rest) && rest[i+1] == ':'
	}
	return false
}

// isClassName knows a line that is the name of a class with its package and no more, as the JVM prints an exception without message.
func isClassName(b []byte) bool {
	b = bytes.TrimSuffix(b, []byte("\r"))
	return len(b) > 0 && qualified(b) == len(b)
}

// qualified returns the length of the name at the start of b that has dots in it (or a $), and a capital after the last one; or 0.
func qualified(b []byte) int {
	i, dot := 0, -1
	for ; i < len(b) && i < maxNamed; i++ {
		c := b[i]
		switch {
		case c == '.':
			if i == 0 || b[i-1] == '.' {
				return 0
			}
			dot = i
		case c == '$' && dot < 0 && i > 0: // of the JVM's default package: Billing$BillingException
			dot = i
		case isWord(c), c == '$', c >= 0x80, c == '`':
		case c == '/': // java.base/java.lang.X
		default:
			goto end
		}
	}
end:
	if dot < 1 || dot+2 > i || isDigit(b[0]) || b[0] == '/' || b[dot+1] < 'A' || b[dot+1] > 'Z' {
		return 0
	}
	return i
}
