package parse

import "bytes"

// Logger reads a line of the ECS agent, ecs-init, the volume plugin, dockerd or containerd, in any of the forms that their versions
// write:
//
//	level=info time=2026-11-21T09:15:36Z msg="text" module=main.go list=[a b]
//	time="2026-11-21T09:15:36.123456789Z" level=warning msg="text" error="text"
//	{"level":"info","time":"2026-11-21T09:15:36Z","msg":"text","n":5}
//	2026-11-21T09:15:36Z [INFO] text
//	1795252538377970885 [Error] text
//
// It answers false, and leaves h empty, where the line does not say both its level and its time.
func Logger(line []byte, h *Host) bool {
	h.reset()
	line = bytes.TrimRight(line, "\r ")
	if len(line) < 12 {
		return false
	}
	switch line[0] {
	case 'l', 't':
		return h.pairs(line)
	case '{':
		return h.object(line)
	}
	if isDigit(line[0]) {
		return h.bracketed(line)
	}
	return false
}

// pairs reads key=value pairs. It is not logfmt: only texts and errors are quoted, all else stands there as Go prints it, blanks and
// all. So a value without quotes goes on to the next word that looks like a key, but not within its brackets.
func (h *Host) pairs(line []byte) bool {
	for rest := line; len(rest) > 0; {
		key, value, after := nextPair(rest)
		if key == nil {
			return h.refuse()
		}
		rest = after
		text := value
		if len(value) > 1 && value[0] == '"' && quotedEnd(value) == len(value) {
			text = h.unquoteGo(value)
		}
		if !h.said(string(key), text) {
			return h.refuse()
		}
	}
	if h.Level == "" || h.Time == 0 {
		return h.refuse()
	}
	return true
}

// said takes one pair. It answers false for a level or a time that is none: the line is of another form then.
func (h *Host) said(key string, value []byte) bool {
	switch {
	case key == "level" && h.Level == "":
		h.Level = LevelName(value)
		return h.Level != ""
	case key == "time" && h.Time == 0:
		var ok bool
		h.Time, ok = Time(value)
		return ok
	case key == "msg":
		key = "message"
	}
	h.add(key, value)
	return true
}

// nextPair takes a pair off the start of b. key is nil where there is none. The pairs, joined by "=" and blanks, are the line.
func nextPair(b []byte) (key, value, rest []byte) {
	n := keyEnd(b)
	if n == 0 {
		return nil, nil, nil
	}
	key, b = b[:n], b[n+1:]
	end := quotedEnd(b)
	if end == 0 || end < len(b) && b[end] != ' ' {
		end = bareEnd(b)
	}
	if end == len(b) {
		return key, b, nil
	}
	return key, b[:end], b[end+1:]
}

// keyEnd is the length of the key that b begins with, before its "="; 0 for none.
func keyEnd(b []byte) int {
	for i, c := range b {
		switch {
		case c == '=':
			return i
		case i > maxHostKey:
			return 0
		case c|0x20 >= 'a' && c|0x20 <= 'z', c == '_':
		case i > 0 && (isDigit(c) || c == '.' || c == '-' || c == '/'):
		default:
			return 0
		}
	}
	return 0
}

// bareEnd is where a value without quotes ends. Brackets that do not match count for nothing.
func bareEnd(b []byte) int {
	depth, first := 0, -1
	for i, c := range b {
		switch c {
		case '[', '{', '(':
			depth++
		case ']', '}', ')':
			depth--
		case ' ':
			if (depth > 0 && first >= 0) || keyEnd(b[i+1:]) == 0 {
				continue
			}
			if depth <= 0 {
				return i
			}
			first = i
		}
	}
	if depth > 0 && first >= 0 {
		return first
	}
	return len(b)
}

// object reads an object of JSON whose texts may be quoted as Go does it: the agent writes `msg` so, and a control byte makes \x1b of
// it, which is no JSON. Values that are no text stay as they are written.
func (h *Host) object(line []byte) bool {
	b := line[1:]
	for first := true; ; first = false {
		b = bytes.TrimLeft(b, " ")
		if len(b) > 0 && b[0] == '}' {
			b = b[1:]
			break
		}
		if !first {
			if len(b) == 0 || b[0] != ',' {
				return h.refuse()
			}
			b = bytes.TrimLeft(b[1:], " ")
		}
		n := quotedEnd(b)
		if n == 0 {
			return h.refuse()
		}
		key := string(h.unquote(b[:n]))
		b = bytes.TrimLeft(b[n:], " ")
		if len(b) < 2 || b[0] != ':' {
			return h.refuse()
		}
		b = bytes.TrimLeft(b[1:], " ")
		n = valueEnd(b)
		if n == 0 {
			return h.refuse()
		}
		value := b[:n]
		if value[0] == '"' {
			value = h.unquote(value)
		}
		if b = b[n:]; !h.said(key, value) {
			return h.refuse()
		}
	}
	if h.Level == "" || h.Time == 0 || len(bytes.TrimSpace(b)) > 0 {
		return h.refuse()
	}
	return true
}

// unquote undoes a text of JSON, or one quoted by Go.
func (h *Host) unquote(quoted []byte) []byte {
	body := quoted[1:]
	text, grown, rest, ok := unescape(body, bytes.IndexByte(body, '\\'), h.scratch)
	if ok && len(rest) == 0 {
		h.scratch = grown
		return text[:len(text):len(text)]
	}
	return h.unquoteGo(quoted)
}

// valueEnd is where a value of JSON at the start of b ends; 0 where there is none.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '"':
			n := quotedEnd(b[i:])
			if n == 0 {
				return 0
			}
			if i += n - 1; depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ':
			if depth == 0 {
				return i
			}
		}
	}
	return 0
}

// bracketed reads "<time> [LEVEL] text", of the agents before 1.36 and of those whose logger is not set up yet.
func (h *Host) bracketed(line []byte) bool {
	stamp, rest, ok := cutBlank(line)
	if !ok || len(rest) < 3 || rest[0] != '[' {
		return h.refuse()
	}
	end := bytes.IndexByte(rest, ']')
	if end < 0 {
		return h.refuse()
	}
	if h.Level = LevelName(rest[1:end]); h.Level == "" {
		return h.refuse()
	}
	if len(stamp) == 19 && num(stamp) > 0 {
		h.Time = int64(num(stamp))
	} else if h.Time, ok = Time(stamp); !ok {
		return h.refuse()
	}
	h.add("message", bytes.TrimPrefix(rest[end+1:], []byte(" ")))
	return true
}
