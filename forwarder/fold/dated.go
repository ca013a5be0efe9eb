package fold

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
	if bracket && i < len(b) && b[i] == ']' { // otherwise there is more within the brackets
		sig |= 32
		i++
	}
	if i < len(b) {
		switch c := b[i]; {
		case c == ' ', c == '\t', c == '|', c == ':' && bracket: // Logger::Formatter, zap, NLog, Celery
		default:
			return prefix{}
		}
		i++
	}
	return prefix{kind: weak, sig: sig, msg: uint16(i), tag: uint16(i)}
}

// levelFirst reads a severity at i, followed by a time: "INFO  [2026-11-21 09:38:34] message".
func levelFirst(b []byte, i int, onlyStrong bool) prefix {
	level := i
	for i < len(b) && i-level < 9 && b[i] >= 'A' && b[i] <= 'Z' {
		i++
	}
	if i-level < 4 || i+20 > len(b) {
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
	p.sev = b[level]
	p.sig |= 0x40
	sidekiqPrefix(b, &p, true)
	if onlyStrong && p.kind == weak {
		return prefix{}
	}
	return p
}
