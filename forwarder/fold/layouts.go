package fold

import "bytes"

// Prefixes that are neither those of Ruby's loggers nor begin with the year: all weak.
const (
	javaUtil    uint8 = 3 + iota // Nov 21, 2026 9:31:34 AM Billing main
	syslogDate                   // Nov 21 09:31:34 host program[7]: message
	dayFirst                     // 21-Nov-2026 10:31:34.123 INFO [main] message; [21-Nov-2026 09:33:37 UTC] message
	weekday                      // [Sat Nov 21 09:33:37.123456 2026] message
	clock                        // 09:31:34.140 [main] INFO message
	clockLevel                   // [09:31:34 INF] message
	levelName                    // ERROR:root:message
	levelBlank                   // ERROR:    message
	glog                         // E1121 09:31:34.123456   12345 file.go:12] message
	netConsole                   // fail: Shop.Cart[0]
	threadName                   // [main] INFO com.acme.Foo - message
	nest                         // [Nest] 7  - 11/21/2026, 9:31:34 AM
	levelTag                     // [ERROR] message, [INFO  tank] message, [error] message
	levelThread                  // ERROR [main] message
)

var months = []byte("JanFebMarAprMayJunJulAugSepOctNovDec")

func isMonth(b []byte) bool {
	if len(b) < 3 {
		return false
	}
	i := bytes.Index(months, b[:3])
	return i >= 0 && i%3 == 0
}

func weakAt(sig uint8, i int) prefix {
	return prefix{kind: weak, sig: sig, msg: uint16(i), tag: uint16(i)}
}

// isLevel returns the length of the name of a severity in capitals at the start of b.
func isLevel(b []byte) int {
	i := 0
	for i < len(b) && i < 9 && b[i] >= 'A' && b[i] <= 'Z' {
		i++
	}
	switch string(b[:i]) {
	case "TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "WARNING", "ERROR", "SEVERE", "CRITICAL", "FATAL", "ALERT", "EMERGENCY", "LOG":
		return i
	}
	return 0
}

// hhmmss knows "09:31:34" or "9:31:34" and returns its length.
func hhmmss(b []byte) int {
	i := 0
	for i < len(b) && i < 2 && isDigit(b[i]) {
		i++
	}
	if i == 0 || len(b) < i+6 || b[i] != ':' || !digits(b[i+1:], 2) || b[i+3] != ':' || !digits(b[i+4:], 2) {
		return 0
	}
	return i + 6
}

// fraction is the length of ".123" or ",123" at the start of b.
func fraction(b []byte) int {
	if len(b) < 2 || b[0] != '.' && b[0] != ',' || !isDigit(b[1]) {
		return 0
	}
	i := 1
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}

// wordPrefix reads prefixes that begin with a capital: a month or a level.
func wordPrefix(b []byte) prefix {
	if isMonth(b) && b[3] == ' ' {
		return monthPrefix(b)
	}
	if digits(b[1:], 4) && b[5] == ' ' && (b[0] == 'I' || b[0] == 'W' || b[0] == 'E' || b[0] == 'F') {
		if n := hhmmss(b[6:]); n > 0 && fraction(b[6+n:]) == 7 {
			return weakAt(glog, 6+n+7)
		}
	}
	n := isLevel(b)
	if n == 0 || n+2 >= len(b) {
		return prefix{}
	}
	switch rest := b[n:]; {
	case rest[0] == ':' && rest[1] != ' ' && !isDigit(rest[1]):
		// Python: the name of the logger and another colon follow.
		for i := 1; i < len(rest) && i < 80; i++ {
			if rest[i] == ':' {
				if i > 1 {
					return weakAt(levelName, n+i+1)
				}
				break
			}
			if !isWord(rest[i]) && rest[i] != '.' && rest[i] != '-' {
				break
			}
		}
	case rest[0] == ':' && rest[1] == ' ' && rest[2] == ' ' && n+len(rest)-len(bytes.TrimLeft(rest[1:], " ")) > 7: // uvicorn fills up to ten
		return weakAt(levelBlank, n+1+len(rest[1:])-len(bytes.TrimLeft(rest[1:], " ")))
	case rest[0] == ' ':
		i := n + len(rest) - len(bytes.TrimLeft(rest, " "))
		if i < len(b) && b[i] == '[' && bytes.IndexByte(b[i:min(len(b), i+80)], ']') > 1 {
			return weakAt(levelThread, i)
		}
	}
	return prefix{}
}

// monthPrefix: java.util.logging, and syslog.
func monthPrefix(b []byte) prefix {
	i := 4
	if b[i] == ' ' {
		i++
	}
	d := i
	for i < len(b) && i-d < 2 && isDigit(b[i]) {
		i++
	}
	if i == d || i+8 >= len(b) {
		return prefix{}
	}
	if b[i] == ' ' {
		if n := hhmmss(b[i+1:]); n == 8 && i+9 < len(b) && b[i+9] == ' ' {
			return weakAt(syslogDate, i+10)
		}
		return prefix{}
	}
	if b[i] != ',' || b[i+1] != ' ' || !digits(b[i+2:], 4) {
		return prefix{}
	}
	for i += 6; i < len(b) && (b[i] == ',' || b[i] == ' '); i++ {
	}
	n := hhmmss(b[i:])
	if n == 0 {
		return prefix{}
	}
	i += n
	i += len(b[i:]) - len(bytes.TrimLeft(b[i:], " \u202f\u00a0")) // JDK 20 and later put a narrow blank before AM
	if i+3 > len(b) || b[i] != 'A' && b[i] != 'P' || b[i+1] != 'M' || b[i+2] != ' ' {
		return prefix{}
	}
	return weakAt(javaUtil, i+3)
}

// bracketPrefix: what begins with a bracket but not with a number of a year.
func bracketPrefix(b []byte) prefix {
	end := bytes.IndexByte(b[:min(len(b), 128)], ']')
	if end < 3 {
		return prefix{}
	}
	in := b[1:end]
	after := end + 1
	if after < len(b) {
		if b[after] != ' ' {
			return prefix{}
		}
		after++
	}
	switch {
	case isDigit(in[0]):
		if n := dayMonth(in); n > 0 {
			return weakAt(dayFirst, after)
		}
		if n := hhmmss(in); n == 8 {
			n += fraction(in[n:])
			if n == len(in) || in[n] == ' ' && isLevelShort(in[n+1:]) {
				return weakAt(clockLevel, after)
			}
		}
	case len(in) > 20 && in[3] == ' ' && isMonth(in[4:]):
		return weakAt(weekday, after)
	case string(in) == "Nest" && after < len(b) && isDigit(b[after]):
		return weakAt(nest, after)
	case isLevel(in) > 0 && (isLevel(in) == len(in) || in[isLevel(in)] == ' '), isLevelSmall(in):
		return weakAt(levelTag, after)
	case after < len(b) && isLevel(b[after:]) > 0 && after+isLevel(b[after:]) < len(b) && b[after+isLevel(b[after:])] == ' ':
		return weakAt(threadName, after)
	}
	return prefix{}
}

// isLevelSmall knows the levels of Play and sbt.
func isLevelSmall(b []byte) bool {
	switch string(b) {
	case "trace", "debug", "info", "warn", "error":
		return true
	}
	return false
}

func isLevelShort(b []byte) bool {
	switch string(b) {
	case "VRB", "DBG", "INF", "WRN", "ERR", "FTL":
		return true
	}
	return isLevel(b) > 0
}

// dayMonth knows "21-Nov-2026 09:33:37" and returns its length.
func dayMonth(b []byte) int {
	if len(b) < 20 || !digits(b, 2) || b[2] != '-' || !isMonth(b[3:]) || b[6] != '-' || !digits(b[7:], 4) || b[11] != ' ' || hhmmss(b[12:]) != 8 {
		return 0
	}
	return 20
}

// clockPrefix: a time without a date, or one with the day first.
func clockPrefix(b []byte) prefix {
	if n := dayMonth(b); n > 0 {
		n += fraction(b[n:])
		if n+1 < len(b) && b[n] == ' ' {
			return weakAt(dayFirst, n+1)
		}
		return prefix{}
	}
	n := hhmmss(b)
	if n != 8 {
		return prefix{}
	}
	f := fraction(b[n:])
	if f == 0 {
		return prefix{}
	}
	n += f
	if n+1 >= len(b) || b[n] != ' ' {
		return prefix{}
	}
	n++
	if b[n] != '[' && isLevel(b[n:]) == 0 && isLevel(bytes.TrimLeft(b[n:], " |")) == 0 {
		return prefix{}
	}
	return weakAt(clock, n)
}

// netPrefix reads the first line of .NET's console logger: "fail: Shop.Cart[0]", and nothing behind it.
func netPrefix(b []byte) prefix {
	switch string(b[:4]) {
	case "trce", "dbug", "info", "warn", "fail", "crit":
	default:
		return prefix{}
	}
	b = bytes.TrimSuffix(b, []byte("\r"))
	n := len(b)
	if n < 10 || b[5] != ' ' || b[n-1] != ']' || bytes.IndexByte(b[6:], ' ') >= 0 {
		return prefix{}
	}
	i := n - 1
	for i > 0 && (isDigit(b[i-1]) || b[i-1] == '-') {
		i--
	}
	if i == n-1 || b[i-1] != '[' {
		return prefix{}
	}
	return weakAt(netConsole, 6)
}
