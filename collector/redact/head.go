package redact

import "bytes"

// headOf is the length of what a log puts before its texts: the time, the stream of a container, the host and the program of the journal
// and of syslog. What a text carries over to its next line is told by what stands behind.
func headOf(line []byte) int {
	n := 0
	switch {
	case len(line) > 20 && isDigit(line[0]) && line[4] == '-' && line[7] == '-' && line[10] == 'T' && line[13] == ':':
		n = bytes.IndexByte(line, ' ') + 1
	case len(line) > 16 && isUpper(line[0]) && line[3] == ' ' && line[9] == ':' && line[12] == ':' && line[15] == ' ':
		n = 16
	}
	if n == 0 || n > 48 {
		return 0
	}
	rest := line[n:]
	if bytes.HasPrefix(rest, []byte("stdout ")) || bytes.HasPrefix(rest, []byte("stderr ")) {
		return n + 7
	}
	host := bytes.IndexByte(rest, ' ') + 1
	if host <= 1 || host > 80 {
		return n
	}
	program := bytes.IndexByte(rest[host:], ' ') + 1
	if program > 2 && program < 80 && rest[host+program-2] == ':' {
		return n + host + program
	}
	return n
}
