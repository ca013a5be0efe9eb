package parse

import "bytes"

// CloudInit reads a line of /var/log/cloud-init.log, whose times are UTC:
//
//	2026-11-21 09:15:36,123 - util.py[DEBUG]: text
func CloudInit(line []byte, h *Host) bool {
	h.reset()
	line = bytes.TrimRight(line, "\r")
	if len(line) < 28 || line[10] != ' ' || line[19] != ',' || string(line[23:26]) != " - " {
		return false
	}
	var stamp [24]byte
	copy(stamp[:], line[:23])
	stamp[10], stamp[19], stamp[23] = 'T', '.', 'Z'
	t, ok := Time(stamp[:])
	if !ok {
		return false
	}
	rest := line[26:]
	open := bytes.IndexByte(rest, '[')
	if open <= 0 || bytes.IndexByte(rest[:open], ' ') >= 0 {
		return false
	}
	level, text, ok := bytes.Cut(rest[open+1:], []byte("]:"))
	if !ok {
		return false
	}
	if h.Level = LevelName(level); h.Level == "" {
		return false
	}
	h.Time = t
	h.add("module", rest[:open])
	h.add("message", bytes.TrimPrefix(text, []byte(" ")))
	return true
}
