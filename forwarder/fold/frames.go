package fold

import "bytes"

// Frames of a stack, and what stands between them.

// indentedShape is the shape of a line that begins with a blank.
func indentedShape(b []byte) shape {
	t := b
	for len(t) > 0 && (t[0] == ' ' || t[0] == '\t') {
		t = t[1:]
	}
	if len(t) < 1 {
		return shapeIndented
	}
	switch t[0] {
	case 'a':
		if len(t) > 5 && t[1] == 't' && t[2] == ' ' {
			return atShape(t[3:], b[0] == ' ')
		}
	case '.':
		if bytes.HasPrefix(t, []byte("... ")) && len(t) > 4 && isDigit(t[4]) &&
			(bytes.HasSuffix(t, []byte(" more")) || bytes.HasSuffix(t, []byte(" common frames omitted")) ||
				bytes.HasSuffix(t, []byte(" matching cause stack trace ...")) || bytes.Contains(t, []byte(" lines matching "))) {
			return shapeMore
		}
	case 'S':
		if bytes.HasPrefix(t, []byte("Suppressed: ")) {
			return shapeSuppressed
		}
	case 'C':
		if len(b)-len(t) > 0 && bytes.HasPrefix(t, []byte("Caused by: ")) { // of what was suppressed
			return shapeSuppressed
		}
	case '^', '~':
		if len(bytes.Trim(t, "^~ ")) == 0 {
			return shapeCaret
		}
	}
	if c := t[len(t)-1]; (isDigit(c) || c == '.' || c == '\r') && bytes.Contains(t, []byte(" called at ")) && endsInLine(t) {
		return shapePerlFrame
	}
	return shapeIndented
}

// atShape tells whose frame stands behind "at ". The place says it, as the names look alike.
func atShape(t []byte, blank bool) shape {
	t = bytes.TrimSuffix(t, []byte(" {")) // Node: properties follow
	t = bytes.TrimSuffix(t, []byte(","))  // within an array
	open := bytes.IndexByte(t, '(')
	if open < 0 {
		if bytes.HasPrefix(t, []byte("async ")) {
			t = t[6:]
		}
		if atColumn(t) && bytes.IndexByte(t, ' ') < 0 || string(t) == "<anonymous>" || string(t) == "native" {
			return shapeNodeFrame
		}
		return shapeIndented
	}
	if last := bytes.LastIndexByte(t, '('); t[len(t)-1] == ')' && last > 0 && t[last-1] == ' ' && nodePlace(t[last+1:len(t)-1]) {
		return shapeNodeFrame
	}
	if bytes.HasSuffix(t, []byte("))")) && bytes.Contains(t, []byte("(eval at ")) {
		return shapeNodeFrame
	}
	name := t[:open]
	end := bytes.IndexByte(t[open:], ')')
	if end < 0 || len(name) == 0 {
		return shapeIndented
	}
	end += open
	if isJavaName(name) && javaPlace(t[open+1:end]) && (end+1 == len(t) || t[end+1] == ' ') {
		return shapeJavaFrame
	}
	if blank && bytes.IndexByte(name, '.') > 0 && netName(name) {
		rest := bytes.TrimSuffix(t[bytes.LastIndexByte(t, ')')+1:], []byte("<---"))
		if i := bytes.Index(t, []byte(") in ")); i > 0 {
			rest = bytes.TrimSuffix(t[i+1:], []byte("<---"))
		}
		if len(rest) == 0 || bytes.HasPrefix(rest, []byte(" in ")) && bytes.LastIndexByte(rest, ':') > 0 || bytes.HasPrefix(rest, []byte(" [0x")) {
			return shapeNetFrame
		}
	}
	return shapeIndented
}

// atColumn knows "...:5:33" at the end of a place.
func atColumn(b []byte) bool {
	i := numbered(b)
	return i > 0 && numbered(b[:i]) > 0
}

func nodePlace(b []byte) bool {
	return atColumn(b) || string(b) == "<anonymous>" || string(b) == "native" || string(b) == "native code" || bytes.HasPrefix(b, []byte("index ")) || string(b) == "unknown"
}

// isJavaName knows a method with its class, perhaps with module or class loader before.
func isJavaName(b []byte) bool {
	dot := false
	for _, c := range b {
		switch {
		case c == '.':
			dot = true
		case isWord(c), c == '$', c == '/', c == '@', c == '-', c == '<', c == '>', c >= 0x80:
		default:
			return false
		}
	}
	return dot
}

// javaPlace knows what stands in parentheses behind a method of the JVM.
func javaPlace(b []byte) bool {
	switch string(b) {
	case "Native Method", "Unknown Source", "SourceFile", "<generated>", "Unknown", "<unknown>":
		return true
	}
	if i := numbered(b); i > 0 {
		b = b[:i]
	}
	dot := bytes.LastIndexByte(b, '.')
	if dot < 0 {
		return string(b) == "SourceFile" || string(b) == "NO_SOURCE_FILE" || string(b) == "<generated>"
	}
	switch string(b[dot+1:]) {
	case "java", "kt", "kts", "scala", "groovy", "gvy", "clj", "cljc", "jsp", "rb", "js", "py", "ceylon":
		return bytes.IndexByte(b, '/') < 0
	}
	return false
}

// netName knows a method of .NET with its class: Shop.Cart.<Add>d__3.MoveNext, System.Linq.Enumerable.ToList[T].
func netName(b []byte) bool {
	for i, c := range b {
		switch {
		case isWord(c), c == '.', c == '<', c == '>', c == '`', c == '+', c == '[', c == ']', c == ',', c == '|', c == '$', c == '-', c >= 0x80:
		case c == ' ' && i > 0 && b[i-1] == ',': // [T1, T2]
		default:
			return false
		}
	}
	return true
}

// isPHPFrame knows "#0 /app/index.php(6): Cart->add()", "#1 [internal function]: f()", "#2 {main}".
func isPHPFrame(b []byte) bool {
	i := 1
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	if i+1 >= len(b) || b[i] != ' ' {
		return false
	}
	t := b[i+1:]
	return string(t) == "{main}" || bytes.HasPrefix(t, []byte("[internal function]")) || bytes.Contains(t, []byte("): ")) || t[len(t)-1] == ')' && bytes.IndexByte(t, '(') > 0
}

// isScript knows "/app/server.js:28": the first line of what Node writes when it dies of an exception or finds a syntax error.
func isScript(b []byte) bool {
	i := numbered(b)
	if i <= 0 || bytes.IndexByte(b[:i], ' ') >= 0 && b[0] != '/' {
		return false
	}
	p := b[:i]
	if bytes.HasPrefix(p, []byte("node:")) || string(p) == "[eval]" || string(p) == "[stdin]" || bytes.HasPrefix(p, []byte("evalmachine.<")) || bytes.HasPrefix(p, []byte("internal/")) {
		return true
	}
	dot := bytes.LastIndexByte(p, '.')
	absolute := b[0] == '/' || bytes.HasPrefix(b, []byte("file:///")) || b[1] == ':'
	if dot < 0 || !absolute {
		return false
	}
	switch string(p[dot+1:]) {
	case "js", "mjs", "cjs", "ts", "mts", "cts", "jsx", "tsx", "json":
		return true
	}
	return false
}

// endsInLine knows " line 7" or " line 7." at the end of a message of Perl, perhaps with the file being read: ", <STDIN> line 3.".
func endsInLine(b []byte) bool {
	n := len(b)
	if n > 0 && b[n-1] == '\r' {
		n--
	}
	if n > 0 && b[n-1] == '.' {
		n--
	}
	d := n
	for n > 0 && isDigit(b[n-1]) {
		n--
	}
	if n == d || n < 9 {
		return false
	}
	return bytes.HasSuffix(b[:n], []byte(" line ")) || bytes.HasSuffix(b[:n], []byte(" chunk "))
}
