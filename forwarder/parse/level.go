package parse

import "bytes"

// Level is the severity that an event's lines say it has: trace, debug, info, warn, error or fatal; "" where they do not say. It
// looks at the prefix of the first line only, and for java.util.logging at the begin of the second.
func Level(lines [][]byte) string {
	if len(lines) == 0 || len(lines[0]) < 5 {
		return ""
	}
	b := lines[0]
	if b[1] == ',' && b[2] == ' ' && b[3] == '[' && isDigit(b[4]) { // Ruby's Logger; colours further on say nothing
		return letterLevel(b[0])
	}
	if b[0] == 0x1b || len(b) > 12 && bytes.IndexByte(b[:12], 0x1b) >= 0 {
		b = plain(b[:min(len(b), 200)])
		if len(b) < 5 {
			return ""
		}
	}
	switch c := b[0]; {
	case c >= 'A' && c <= 'Z':
		if b[1] == ',' {
			return rubyLevel(b)
		}
		if c == 'P' && bytes.HasPrefix(b, []byte("PHP ")) {
			return phpLevel(b[4:])
		}
		if b[3] == ' ' && len(lines) > 1 && bytes.Contains(b[:min(len(b), 14)], []byte(", 20")) { // "Nov 21, 2026 ..."
			return leading(plain(lines[1]))
		}
		if isDigit(b[1]) && len(b) > 20 && b[5] == ' ' && b[8] == ':' { // glog: E1121 09:31:34
			return letterLevel(b[0])
		}
		return leading(b)
	case isDigit(c), c == '[', c == '<':
		if !stamped(b) {
			return ""
		}
		return within(b[:min(len(b), 120)])
	case c == 't' || c == 'l':
		if bytes.HasPrefix(b, []byte("time=")) || bytes.HasPrefix(b, []byte("level=")) || bytes.HasPrefix(b, []byte("ts=")) {
			if i := bytes.Index(b, []byte("level=")); i >= 0 {
				return LevelName(word(bytes.TrimLeft(b[i+6:], `"`)))
			}
		}
	}
	if b[4] == ':' && bytes.HasSuffix(bytes.TrimSuffix(b, []byte("\r")), []byte("]")) { // the console of .NET
		return LevelName(b[:4])
	}
	return ""
}

// LevelName is the common name of a severity as loggers write it, in any case; "" for any other word.
func LevelName(w []byte) string {
	if len(w) < 3 || len(w) > 13 {
		return ""
	}
	var low [13]byte
	for i, c := range w {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		low[i] = c
	}
	switch string(low[:len(w)]) {
	case "trace", "trce", "trc", "vrb", "verbose", "finest", "finer":
		return "trace"
	case "debug", "dbug", "dbg", "fine", "config":
		return "debug"
	case "info", "inf", "information", "informational", "notice", "log":
		return "info"
	case "warn", "wrn", "warning":
		return "warn"
	case "error", "err", "fail", "severe":
		return "error"
	case "fatal", "ftl", "crit", "critical", "panic", "dpanic", "alert", "emerg", "emergency":
		return "fatal"
	}
	return ""
}

// rubyLevel reads "E, [2026-11-21T09:38:34.507571 #1] ERROR -- : text".
func rubyLevel(b []byte) string {
	if b[2] != ' ' || b[3] != '[' {
		return ""
	}
	return letterLevel(b[0])
}

func letterLevel(c byte) string {
	switch c {
	case 'D':
		return "debug"
	case 'I':
		return "info"
	case 'W':
		return "warn"
	case 'E':
		return "error"
	case 'F':
		return "fatal"
	}
	return ""
}

func phpLevel(b []byte) string {
	i := bytes.IndexByte(b, ':')
	if i < 0 {
		return ""
	}
	switch string(b[:i]) {
	case "Fatal error", "Parse error", "Core error", "Compile error", "Recoverable fatal error", "Catchable fatal error":
		return "fatal"
	case "Warning", "Core warning", "Compile warning":
		return "warn"
	case "Notice", "Deprecated", "Strict Standards":
		return "info"
	}
	return ""
}

// leading is the level that a line begins with: "ERROR [main] text", "SEVERE: text".
func leading(b []byte) string {
	w := word(b)
	if len(w) < 3 || len(w) == len(b) {
		return ""
	}
	for _, c := range w {
		if c < 'A' || c > 'Z' {
			return ""
		}
	}
	if c := b[len(w)]; c != ':' && c != ' ' && c != '\t' && c != '|' {
		return ""
	}
	// "LOG in to go on" is no line of a logger.
	if b[len(w)] == ' ' {
		rest := bytes.TrimLeft(b[len(w):], " ")
		if len(rest) == 0 || rest[0] != '[' && rest[0] != '(' && !isDigit(rest[0]) && rest[0] != '-' && rest[0] != '|' {
			return ""
		}
	}
	return LevelName(w)
}

// stamped says that a line begins with a date, a time or something in brackets.
func stamped(b []byte) bool {
	if b[0] == '[' {
		return true
	}
	if len(b) < 12 || !isDigit(b[1]) {
		return false
	}
	switch {
	case isDigit(b[2]) && isDigit(b[3]):
		return b[4] == '-' || b[4] == '/'
	case b[2] == ':' || b[2] == '-' && b[3] >= 'A':
		return true
	}
	return false
}

// within finds a level between the other parts of a prefix: in capitals, or small in brackets, or small before a colon if no word comes
// before it.
func within(b []byte) string {
	words := false
	for end := 0; end < len(b); {
		if !isLetter(b[end]) {
			end++
			continue
		}
		i := end
		for end++; end < len(b) && isLetter(b[end]); end++ {
		}
		w := b[i:end]
		if len(w) >= 3 && len(w) <= 9 && (i == 0 || bounds(b[i-1])) && (end == len(b) || bounds(b[end])) {
			if capital := w[1] < 'a'; capital || i > 0 && b[i-1] == '[' && (end < len(b) && (b[end] == ']' || b[end] == ' ')) ||
				!words && end+1 < len(b) && b[end] == ':' && b[end+1] == ' ' {
				if name := LevelName(w); name != "" {
					return name
				}
			}
		}
		words = words || len(w) >= 3
	}
	return ""
}

func bounds(c byte) bool {
	switch c {
	case ' ', '[', ']', '|', ':', '\t', '/', '<', '>', '.', '(', ')':
		return true
	}
	return false
}

// word is the letters at the start of b.
func word(b []byte) []byte {
	i := 0
	for i < len(b) && isLetter(b[i]) {
		i++
	}
	return b[:i]
}

func isLetter(c byte) bool { return c|0x20-'a' < 26 }

func isDigit(c byte) bool { return c-'0' <= 9 }

// plain is b without the escapes that colour it.
func plain(b []byte) []byte {
	i := bytes.IndexByte(b, 0x1b)
	if i < 0 {
		return b
	}
	dst := append(make([]byte, 0, len(b)), b[:i]...)
	for i < len(b) {
		if b[i] == 0x1b && i+1 < len(b) && b[i+1] == '[' {
			for i += 2; i < len(b) && (isDigit(b[i]) || b[i] == ';' || b[i] == ':'); i++ {
			}
			i++
			continue
		}
		dst = append(dst, b[i])
		i++
	}
	return dst
}
