package fold

import "bytes"

// prefix is what a logger puts before the message of its first line.
type prefix struct {
	kind prefixKind
	sig  uint8 // which layout, for the kinds that have several
	sev  byte  // first letter of the severity, 0 if there is none
	msg  int   // where the message begins
	pid  [2]int
	tid  [2]int
}

type prefixKind uint8

const (
	bare prefixKind = iota
	// strong: no other text looks like it. Such a line always begins an event.
	strong
	// weak: a date or a tag, which a message of several lines may hold as well. Such a line begins an event in a stream that
	// has shown to begin its events so, in exactly this layout.
	weak
)

// Layouts of weak prefixes. Dates have dated and a description of their parts in the lower bits.
const (
	tagged uint8 = 1    // [request id] message
	jobTag uint8 = 2    // [ActiveJob] ...: begins an event where request ids do, but does not show that they do
	dated  uint8 = 0x80 // 2026-11-21 09:38:34 +0000 message
)

// parsePrefix looks at the first bytes of a line. It is called for every line and must reject by the first byte.
func parsePrefix(b []byte) prefix {
	if len(b) < 8 {
		return prefix{}
	}
	switch c := b[0]; {
	case c >= 'A' && c <= 'W':
		if b[1] == ',' {
			return rubyLogger(b)
		}
		return levelFirst(b)
	case c == '[':
		if isDigit(b[1]) {
			if p := datedPrefix(b, 1); p.kind != bare {
				return p
			}
		}
		if n := requestTag(b); n > 0 {
			return prefix{kind: weak, sig: tagged}
		}
		if string(b[1:8]) == "ActiveJ" && bytes.HasPrefix(b, []byte("[ActiveJob] ")) {
			return prefix{kind: weak, sig: jobTag}
		}
	case isDigit(c):
		p := datedPrefix(b, 0)
		if p.kind != bare {
			sidekiqPrefix(b, &p)
		}
		return p
	case c == 'p':
		var p prefix
		sidekiqPrefix(b, &p) // its formatter without times
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
	i := 4
	for ; i < len(b) && b[i] != '#'; i++ {
		if b[i] == ']' || b[i] == '[' || i > 64 {
			return prefix{}
		}
	}
	i++
	pid := [2]int{i, i}
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	pid[1] = i
	if pid[0] == i || i+2 > len(b) || b[i] != ']' || b[i+1] != ' ' {
		return prefix{}
	}
	for i += 2; i < len(b) && b[i] == ' '; i++ {
	}
	sev := i
	for i < len(b) && b[i] >= 'A' && b[i] <= 'Z' {
		i++
	}
	if sev == i || i+4 > len(b) || string(b[i:i+4]) != " -- " {
		return prefix{}
	}
	// The name of the program is nearly always empty; it ends at the first ": ".
	for i += 4; ; i++ {
		if i+1 >= len(b) {
			return prefix{}
		}
		if b[i] == ':' && b[i+1] == ' ' {
			return prefix{kind: strong, sev: b[0], msg: i + 2, pid: pid}
		}
	}
}

// sidekiqPrefix reads on after the time (or from the start) in the layouts of Sidekiq's formatters, and makes p strong:
//
//	2026-11-21T09:43:05.276Z pid=1 tid=1a5 class=Resize jid=cc9a1b0afbdcdb71e43c7388 INFO: message
//	2017-11-21T09:43:05.276Z 1 TID-ovkzyz Resize JID-cc9a1b0afbdcdb71e43c7388 INFO: message
func sidekiqPrefix(b []byte, p *prefix) {
	i := p.msg
	pid, ok := value(b, i, "pid=")
	if !ok {
		pid = [2]int{i, i}
		for pid[1] < len(b) && isDigit(b[pid[1]]) {
			pid[1]++
		}
	}
	if pid[0] == pid[1] || pid[1] >= len(b) || b[pid[1]] != ' ' {
		return
	}
	tid, ok2 := value(b, pid[1]+1, "tid=")
	if !ok2 || !ok {
		if tid, ok2 = value(b, pid[1]+1, "TID-"); !ok2 {
			return
		}
	}
	// The context, word by word, up to the severity.
	for i = tid[1] + 1; i < len(b); {
		w := i
		for i < len(b) && b[i] != ' ' {
			i++
		}
		if i-w >= 4 && b[i-1] == ':' && isUpper(b[w:i-1]) {
			if i < len(b) {
				i++
			}
			*p = prefix{kind: strong, sev: b[w], msg: i, pid: pid, tid: tid}
			return
		}
		i++
	}
}

// value finds the word that begins with key at i; its bounds are those of what follows the key.
func value(b []byte, i int, key string) ([2]int, bool) {
	if len(b)-i <= len(key) || string(b[i:i+len(key)]) != key {
		return [2]int{}, false
	}
	i += len(key)
	v := [2]int{i, i}
	for v[1] < len(b) && b[v[1]] != ' ' {
		v[1]++
	}
	return v, v[1] > v[0] && v[1] < len(b)
}

// levelFirst reads a severity followed by a time: "INFO  [2026-11-21 09:38:34] message".
func levelFirst(b []byte) prefix {
	i := 0
	for i < len(b) && i < 9 && b[i] >= 'A' && b[i] <= 'Z' {
		i++
	}
	if i < 4 || i+20 > len(b) || b[i] != ' ' {
		return prefix{}
	}
	for i < len(b) && b[i] == ' ' {
		i++
	}
	if i < len(b) && b[i] == '[' {
		i++
	}
	p := datedPrefix(b, i)
	if p.kind == bare {
		return prefix{}
	}
	p.sev = b[0]
	p.sig |= 0x40
	return p
}

// datedPrefix reads a time that begins at i: year, month and day, blank or T, hours, minutes and seconds, fraction, zone.
// All but the fraction's length is part of the layout.
func datedPrefix(b []byte, i int) prefix {
	if len(b)-i < 19 || !digits(b[i:], 4) || !digits(b[i+5:], 2) || !digits(b[i+8:], 2) || !digits(b[i+11:], 2) {
		return prefix{}
	}
	sep, t := b[i+4], b[i+10]
	if sep != '-' && sep != '/' || b[i+7] != sep || t != ' ' && t != 'T' || b[i+13] != ':' || b[i+16] != ':' || !digits(b[i+14:], 2) || !digits(b[i+17:], 2) {
		return prefix{}
	}
	sig := dated
	if sep == '/' {
		sig |= 1
	}
	if t == 'T' {
		sig |= 2
	}
	bracket := i > 0 && b[i-1] == '['
	i += 19
	if i+1 < len(b) && (b[i] == '.' || b[i] == ',') && isDigit(b[i+1]) {
		sig |= 4
		for i++; i < len(b) && isDigit(b[i]); i++ {
		}
	}
	j := i
	if j+1 < len(b) && b[j] == ' ' {
		j++
	}
	switch {
	case i < len(b) && b[i] == 'Z':
		sig |= 8
		i++
	case j+5 <= len(b) && (b[j] == '+' || b[j] == '-') && digits(b[j+1:], 4):
		sig |= 16
		i = j + 5
	case j+6 <= len(b) && (b[j] == '+' || b[j] == '-') && digits(b[j+1:], 2) && b[j+3] == ':' && digits(b[j+4:], 2):
		sig |= 24
		i = j + 6
	}
	if bracket {
		if i >= len(b) || b[i] != ']' {
			return prefix{}
		}
		sig |= 32
		i++
	}
	if i < len(b) {
		if b[i] != ' ' {
			return prefix{}
		}
		i++
	}
	return prefix{kind: weak, sig: sig, msg: i}
}

// requestTag reads "[request id] ", the only thing that Rails 8 puts before its lines, and returns its length: 16 to 255 letters,
// digits, - and @, with a digit among them (a UUID, or what a load balancer made up).
func requestTag(b []byte) int {
	digit := false
	for i := 1; i < len(b) && i <= 256; i++ {
		switch c := b[i]; {
		case isDigit(c):
			digit = true
		case c|0x20 >= 'a' && c|0x20 <= 'z', c == '-', c == '_', c == '@':
		case c == ']' && digit && i > 16 && i+1 < len(b) && b[i+1] == ' ':
			return i + 2
		default:
			return 0
		}
	}
	return 0
}

// tags returns how many bytes of "[tag] [tag] " a message begins with.
func tags(b []byte) int {
	n := 0
next:
	for n < len(b) && b[n] == '[' {
		for i := n + 1; i < len(b) && i-n < 256; i++ {
			switch b[i] {
			case '[':
				return n
			case ']':
				if i+1 >= len(b) || b[i+1] != ' ' || i == n+1 {
					return n
				}
				n = i + 2
				continue next
			}
		}
		return n
	}
	return n
}

// origin is a hash (FNV-1a) of who wrote the line: process, thread, tags. It is saved, so it must stay as it is.
func (p *prefix) origin(b []byte, tagEnd int) uint64 {
	h := uint64(14695981039346656037)
	for _, part := range [3][]byte{b[p.pid[0]:p.pid[1]], b[p.tid[0]:p.tid[1]], b[p.msg:tagEnd]} {
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
