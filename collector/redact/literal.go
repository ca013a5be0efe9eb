package redact

import (
	"bytes"
	"unicode/utf8"
)

// literals looks into the strings of a line that have escapes as they are without them: JSON within JSON, what a logger has quoted. There
// a value's end, a sign and the lines of a key stand as they were written, however often they have been quoted since.
func (p *pass) literals(line []byte, start int) {
	if p.depth >= maxDepth || bytes.IndexByte(line[start:], '\\') < 0 {
		return
	}
	for i := start; i < len(line); i++ {
		if line[i] == '\\' {
			i++
			continue
		}
		if line[i] != '"' {
			continue
		}
		end, escapes := i+1, 0
		for end < len(line) && line[end] != '"' {
			if line[end] == '\\' {
				escapes++
				end++
			}
			end++
		}
		end = min(end, len(line))
		if raw := line[i+1 : end]; escapes > 1 || escapes == 1 && !bytes.HasSuffix(raw, []byte(`\n`)) {
			p.literal(raw, i+1)
		}
		i = end
	}
}

// literal looks into one string that stands at offset in the line.
func (p *pass) literal(raw []byte, offset int) {
	plain, at := unquoted(raw)
	inner := pass{r: p.r, member: p.member, depth: p.depth + 1}
	lines := bytes.SplitAfter(plain, []byte{'\n'})
	from := 0
	for i := 0; i < len(lines); i++ {
		l := lines[i]
		inner.spans = inner.spans[:0]
		if n := blockLines(lines[i:]); n > 1 && !inner.key && !inner.public {
			block := bytes.Join(lines[i:i+n], nil)
			joined := bytes.Join(bytes.Fields(block), nil)
			if _, secret := inner.blob(joined); secret || !hexOnly(joined) && !inner.isHarmless(joined) {
				p.add(offset+at[from], offset+at[from+len(block)], "base64-block", bytes.Clone(joined))
			}
			from += len(block)
			i += n - 1
			continue
		}
		inner.settled(bytes.TrimRight(l, "\r\n"))
		for _, s := range inner.spans {
			v := s.value
			if v == nil {
				v = bytes.Clone(l[s.from:s.to])
			}
			if !isToken(v) || len(v) != tokenLen {
				p.add(offset+at[from+s.from], offset+at[from+s.to], s.kind, v)
			}
		}
		from += len(l)
	}
}

// blockLines is how many lines from the first are one piece of base64.
func blockLines(lines [][]byte) int {
	var p pass
	for n, l := range lines {
		body := bytes.TrimRight(l, "\r\n")
		if !p.isBlockLine(body) {
			return n
		}
		p.block = append(p.block, l...)
		p.blockLine++
	}
	return len(lines)
}

// unquoted takes one layer of escapes off a string, and answers where in it each byte came from, and where the end is.
func unquoted(raw []byte) (plain []byte, at []int) {
	plain, at = make([]byte, 0, len(raw)), make([]int, 0, len(raw)+1)
	put := func(from int, b ...byte) {
		for range b {
			at = append(at, from)
		}
		plain = append(plain, b...)
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' || i+1 == len(raw) {
			put(i, raw[i])
			continue
		}
		from := i
		i++
		switch c := raw[i]; {
		case c == 'n':
			put(from, '\n')
		case c == 't':
			put(from, '\t')
		case c == 'r':
			put(from, '\r')
		case c == 'u' && i+4 < len(raw):
			code, ok := hex4(raw[i+1 : i+5])
			if !ok {
				put(from, c)
				continue
			}
			put(from, utf8.AppendRune(nil, code)...)
			i += 4
		case c == 'x' && i+2 < len(raw):
			code, ok := hex4([]byte{'0', '0', raw[i+1], raw[i+2]})
			if !ok {
				put(from, c)
				continue
			}
			put(from, byte(code))
			i += 2
		default:
			put(from, c)
		}
	}
	return plain, append(at, len(raw))
}
