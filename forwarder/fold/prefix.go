package fold

import "bytes"

// prefix is what a logger puts before the message of its first line. Its places are within the first few hundred bytes.
type prefix struct {
	kind prefixKind
	sig  uint8  // which layout, for the kinds that have several
	sev  byte   // first letter of the severity, 0 if there is none
	msg  uint16 // where the message begins, with its tags
	tag  uint16 // where what is not yet known to be a tag begins
	pid  span
	tid  span
}

type span [2]uint16

func (s span) of(b []byte) []byte { return b[s[0]:s[1]] }

// maxPrefix is how far a prefix may reach: beyond, it is none.
const maxPrefix = 4096

type prefixKind uint8

const (
	bare prefixKind = iota
	// strong: no other text looks like it. Such a line always begins an event.
	strong
	// weak: a date, a level or a tag, which a message of several lines may hold as well. Such a line begins an event in a stream that
	// has shown to begin its events so, in exactly this layout.
	weak
)

// Layouts of weak prefixes. Dates have dated and a description of their parts in the lower bits.
const (
	tagged uint8 = 1 // [request id] message
	// 3 and up are in layouts.go.
	jobTag uint8 = 2    // [ActiveJob] ...: begins an event where request ids do, but does not show that they do
	dated  uint8 = 0x80 // 2026-11-21 09:38:34 +0000 message
)

// parsePrefix looks at the first bytes of a line. It is called for every line and must reject by the first byte. In a stream with a
// strong prefix it does not look for weak ones.
func parsePrefix(b []byte, onlyStrong bool) prefix {
	if len(b) < 8 {
		if len(b) > 4 && b[0] == '[' && !onlyStrong {
			return bracketPrefix(b) // "[INFO] " and nothing
		}
		return prefix{}
	}
	if len(b) > maxPrefix {
		b = b[:maxPrefix]
	}
	switch c := b[0]; {
	case c >= 'A' && c <= 'W':
		if b[1] == ',' {
			return rubyLogger(b)
		}
		if b[1] >= 'a' && b[3] != ' ' { // a word, and no month
			return prefix{}
		}
		if p := levelFirst(b, 0, onlyStrong); p.kind != bare || onlyStrong {
			return p
		}
		return wordPrefix(b)
	case c == '[':
		if onlyStrong {
			return prefix{}
		}
		if isDigit(b[1]) {
			if p := datedPrefix(b, 1); p.kind != bare {
				return p
			}
		}
		if n := requestTag(b); n > 0 {
			return prefix{kind: weak, sig: tagged, tag: uint16(n)}
		}
		if bytes.HasPrefix(b, []byte("[ActiveJob] ")) {
			return prefix{kind: weak, sig: jobTag}
		}
		return bracketPrefix(b)
	case isDigit(c):
		p := datedPrefix(b, 0)
		if p.kind != bare {
			sidekiqPrefix(b, &p, false)
		}
		if onlyStrong && p.kind == weak {
			return prefix{}
		}
		if p.kind == bare && !onlyStrong {
			return clockPrefix(b)
		}
		return p
	case onlyStrong && c != 'p':
	case b[4] == ':':
		return netPrefix(b)
	case c == 'p':
		var p prefix
		sidekiqPrefix(b, &p, false) // its formatter without times
		return p
	}
	return prefix{}
}

// rubyLogger reads the prefix of Ruby's Logger::Formatter:
//
//	E, [2026-11-21T09:38:34.507571 #1] ERROR -- progname: message
//
// The time may have another format; before Ruby 2.4 there is no blank before the #.
func rubyLogger(b []byte) prefix {
	if b[2] != ' ' || b[3] != '[' || !isDigit(b[4]) {
		return prefix{}
	}
	n := bytes.IndexByte(b[4:min(len(b), 68)], '#')
	if n < 0 || bytes.IndexByte(b[4:4+n], ']') >= 0 {
		return prefix{}
	}
	i := 4 + n + 1
	pid := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	end := i
	if pid == end || i+2 > len(b) || b[i] != ']' || b[i+1] != ' ' {
		return prefix{}
	}
	i += 2
	if i+11 <= len(b) && string(b[i+5:i+11]) == " -- : " { // no name of a program, as nearly always
		switch string(b[i : i+5]) {
		case " INFO", "DEBUG", " WARN", "ERROR", "FATAL", "  ANY":
			msg := uint16(i + 11)
			return prefix{kind: strong, sev: b[0], msg: msg, tag: msg, pid: span{uint16(pid), uint16(end)}}
		}
	}
	for ; i < len(b) && b[i] == ' '; i++ {
	}
	sev := i
	for i < len(b) && b[i] >= 'A' && b[i] <= 'Z' {
		i++
	}
	if sev == i || i+4 > len(b) || string(b[i:i+4]) != " -- " {
		return prefix{}
	}
	// The name of the program is nearly always empty; it ends at the first ": ".
	for i += 4; i+1 < len(b); i++ {
		if b[i] == ':' && b[i+1] == ' ' {
			return prefix{kind: strong, sev: b[0], msg: uint16(i + 2), tag: uint16(i + 2), pid: span{uint16(pid), uint16(end)}}
		}
	}
	return prefix{}
}

// word finds the word at i that begins with key: its span without the key, or nothing.
func word(b []byte, i int, key string) span {
	if len(b)-i <= len(key) || string(b[i:i+len(key)]) != key {
		return span{}
	}
	i += len(key)
	n := bytes.IndexByte(b[i:], ' ')
	if n <= 0 {
		return span{}
	}
	return span{uint16(i), uint16(i + n)}
}

// requestTag reads "[request id] ", the only thing that Rails 8 puts before its lines, and returns its length: 16 to 255 letters,
// digits, - and @, with a digit among them (a UUID, or what a load balancer made up).
func requestTag(b []byte) int {
	if len(b) > 38 && b[37] == ']' && b[38] == ' ' && b[9] == '-' && b[14] == '-' && b[19] == '-' && b[24] == '-' {
		return 39
	}
	n := bytes.IndexByte(b[:min(len(b), 257)], ']')
	if n <= 16 || n+1 >= len(b) || b[n+1] != ' ' {
		return 0
	}
	digit := false
	for _, c := range b[1:n] {
		switch {
		case isDigit(c):
			digit = true
		case c == '-', c == '@', isWord(c):
		default:
			return 0
		}
	}
	if !digit {
		return 0
	}
	return n + 2
}

// tags returns how many bytes of "[tag] [tag] " a message begins with.
func tags(b []byte) int {
	n := 0
	for n < len(b) && b[n] == '[' {
		t := b[n+1 : min(len(b), n+257)]
		i := bytes.IndexByte(t, ']')
		if i < 1 || i+1 >= len(t) || t[i+1] != ' ' || bytes.IndexByte(t[:i], '[') >= 0 {
			break
		}
		n += i + 3
	}
	return n
}

// origin is a hash (FNV-1a) of who wrote the line: process, thread, tags. It is saved, so it must stay as it is.
func (p *prefix) origin(b []byte, tagEnd int) uint64 {
	h := uint64(14695981039346656037)
	for _, part := range [3][]byte{p.pid.of(b), p.tid.of(b), b[p.msg:tagEnd]} {
		for _, c := range part {
			h = (h ^ uint64(c)) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return h
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func digits(b []byte, n int) bool {
	if len(b) < n {
		return false
	}
	for _, c := range b[:n] {
		if !isDigit(c) {
			return false
		}
	}
	return true
}

func isUpper(b []byte) bool {
	for _, c := range b {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}
