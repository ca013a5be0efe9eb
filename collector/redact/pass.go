package redact

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// maxDepth bounds how many encodings are taken off to look at what is inside.
const maxDepth = 3

// span is a secret in a line.
type span struct {
	from, to int
	kind     string
	value    []byte // for the token; nil: the span
}

// pass goes over the lines of one text and remembers what of a line concerns the next.
type pass struct {
	r      *Redactor
	member string
	depth  int

	spans []span
	head  int // of the line: what a log puts before its text

	key       bool // between BEGIN and END of a private key
	keyLines  int
	public    bool   // between BEGIN and END of a certificate or public key: long base64 is as it should be
	below     int    // lines indented deeper than this, less one, belong to a secret of the line above; 0: none do
	quote     byte   // a quoted secret goes on until this
	quoted    int    // for so many lines already
	next      bool   // the next line's word is the value of a flag or a name
	chosen    int    // one of so many lines to come may be a password and nothing else
	braces    int    // so many braces of a secret are open
	braced    int    // for so many lines already
	valueOf   bool   // if the next line sets "value", it is a secret's
	block     []byte // lines of base64 that may belong together
	blockLine int
	blockLen  int // length of its lines
}

// line appends the redacted line to out. Lines that may be part of a larger piece of base64 are held until it ends.
func (p *pass) line(out, line []byte) []byte {
	if bytes.IndexByte(line, 0) >= 0 { // a file after a crash; UTF-16: without the zeros its ASCII can be read
		line = bytes.ReplaceAll(line, []byte{0}, nil)
	}
	body := bytes.TrimRight(line, "\r\n")
	if !p.public && !p.key && p.depth < maxDepth && p.isBlockLine(body) {
		p.block = append(p.block, line...)
		p.blockLine++
		if len(p.block) < maxValue*16 {
			return out
		}
		return p.endBlock(out)
	}
	if len(p.block) > 0 {
		out = p.endBlock(out)
	}
	return p.plain(out, line)
}

// end appends what is held.
func (p *pass) end(out []byte) []byte { return p.endBlock(out) }

// isBlockLine tells of a line that is base64 from end to end, as MIME and PEM cut it: all lines of a block but the last are of one length.
func (p *pass) isBlockLine(body []byte) bool {
	body = bytes.TrimLeft(body, " \t")
	first := len(p.block) == 0
	switch {
	case first && len(body) < 32, !first && (len(body) == 0 || len(body) > p.blockLen || p.blockLine > 0 && p.lastShort()):
		return false
	}
	for _, c := range body {
		if !isAlnum(c) && c != '+' && c != '/' && c != '=' && c != '-' && c != '_' {
			return false
		}
	}
	if first {
		p.blockLen, p.blockLine = len(body), 0
	}
	return true
}

// lastShort tells whether the last line of the block is shorter than the others, and so its last.
func (p *pass) lastShort() bool {
	b := bytes.TrimRight(p.block, "\r\n")
	return len(bytes.TrimSpace(b[bytes.LastIndexByte(b, '\n')+1:])) < p.blockLen
}

// endBlock gives out the lines that were held. Several are taken for one piece, because a secret may go over the end of a line.
func (p *pass) endBlock(out []byte) []byte {
	if len(p.block) == 0 {
		return out
	}
	block, n := p.block, p.blockLine
	p.block, p.blockLine = nil, 0
	if n > 1 {
		joined := bytes.Map(func(c rune) rune {
			if c <= ' ' {
				return -1
			}
			return c
		}, block)
		if kind, secret := p.blob(joined); secret || !hexOnly(joined) {
			// What does not decode to harmless text may hold anything.
			if !secret && p.isHarmless(joined) {
				kind = ""
			} else if kind == "" {
				kind = "base64-block"
			}
			if kind != "" {
				p.below, p.quote, p.next, p.valueOf = 0, 0, false, false
				out = append(out, p.r.take(p.member, kind, joined)...)
				return append(out, '\n')
			}
		}
	}
	for l := range bytes.Lines(block) {
		out = p.plain(out, l)
	}
	return out
}

// plain redacts a line by itself.
func (p *pass) plain(out, line []byte) []byte {
	p.spans = p.spans[:0]
	p.settled(bytes.TrimRight(line, "\r\n"))
	return p.write(out, line)
}

// settled finds the secrets of a line, of those that earlier ones began too.
func (p *pass) settled(body []byte) {
	p.head = headOf(body)
	if !p.carried(body) {
		p.scan(body)
		p.traced(body)
	}
}

// carried deals with what earlier lines began. It answers whether the line is settled.
func (p *pass) carried(body []byte) bool {
	trimmed := bytes.TrimLeft(body[p.head:], " \t")
	indent := len(body) - p.head - len(trimmed)
	text := p.head + indent
	if p.chosen > 0 && len(trimmed) > 0 {
		p.chosen--
		if bytes.IndexByte(trimmed, ' ') < 0 && (looksChosen(trimmed) || len(trimmed) >= 16 && hexOnly(trimmed)) {
			p.chosen = 0
			p.secret(body, text, text+len(trimmed), kindPassword)
			return true
		}
	}
	switch {
	case p.key:
		// Of a key in a log each line may have a prefix, so only a few kinds of lines end it by themselves.
		p.keyLines++
		if i := endOfKey(body); i >= 0 {
			p.key = false
			p.add(min(text, i), i, "private-key", nil)
			return false
		}
		if p.keyLines > 200 {
			p.key = false
			return false
		}
		p.add(text, len(body), "private-key", nil)
		p.learn(trimmed)
		return true
	case p.braces > 0:
		p.braced++
		p.braces += bytes.Count(trimmed, []byte("{")) - bytes.Count(trimmed, []byte("}"))
		if p.braced > 40 {
			p.braces = 0
			return false
		}
		p.add(text, len(body), kindSecret, nil)
		for _, v := range bytes.FieldsFunc(trimmed, func(c rune) bool { return c < utf8.RuneSelf && !base64ish(byte(c)) && c != '!' && c != '.' }) {
			p.learn(v)
		}
		return true
	case p.quote != 0:
		p.quoted++
		if i := bytes.IndexByte(body, p.quote); i >= 0 {
			p.quote = 0
			p.add(min(p.head, i), i, kindPassword, nil)
			p.scanFrom(body, i)
			return true
		}
		if p.quoted > 30 || len(trimmed) == 0 && p.quoted > 1 {
			p.quote = 0
			return false
		}
		p.add(text, len(body), kindPassword, nil)
		p.learn(trimmed)
		return true
	case p.below > 0:
		if len(trimmed) == 0 {
			return true
		}
		if indent < p.below {
			p.below = 0
			return false
		}
		p.add(text, len(body), kindSecret, nil)
		p.learn(trimmed)
		return true
	case p.next:
		p.next = false
		from := p.head
		for from < len(body) && (isSpace(body[from]) || bytes.IndexByte([]byte(`-"'\,[>|`), body[from]) >= 0) {
			if body[from] == '-' && from+1 < len(body) && isAlnum(body[from+1]) { // a flag, or a value that begins so
				break
			}
			from++
		}
		to := from
		quoted := from > p.head && (body[from-1] == '"' || body[from-1] == '\'')
		for to < len(body) && (quoted && body[to] != body[from-1] || !quoted && !isSpace(body[to]) && body[to] != '"' && body[to] != '\'') {
			to++
		}
		if to > from && !isTrivial(body[from:to]) && body[from] != '-' {
			p.secret(body, from, to, kindPassword)
		}
	case p.valueOf:
		p.valueOf = false
		if i := valueField(body, p.head); i >= 0 {
			from, to, _ := p.value(body, i, false)
			if to > from && !isTrivial(body[from:to]) {
				p.secret(body, from, to, kindSecret)
			}
		} else if len(trimmed) > 0 && len(trimmed) < 24 && bytes.IndexByte(body, ':') < 0 { // a comma, a brace
			p.valueOf = !bytes.ContainsAny(body, "}]")
		}
	}
	return false
}

func (p *pass) add(from, to int, kind string, value []byte) {
	if to > from {
		p.spans = append(p.spans, span{from, to, kind, value})
	}
}

// secret adds a span whose value is learned for all other places.
func (p *pass) secret(line []byte, from, to int, kind string) {
	v := line[from:to]
	if isToken(v) && len(v) == tokenLen {
		return
	}
	p.add(from, to, kind, nil)
	p.learn(v)
}

func (p *pass) learn(v []byte) {
	if p.member != "" && p.r.known.count >= mostOfLogs {
		return
	}
	p.r.known.learn(v)
	if bytes.IndexByte(v, '\\') >= 0 {
		plain := v
		for range 3 {
			plain = unescape(plain)
			p.r.known.learn(plain)
		}
	}
}

// unescape undoes one layer of JSON's escapes, as far as they are any.
func unescape(v []byte) []byte {
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] != '\\' || i+1 == len(v) {
			out = append(out, v[i])
			continue
		}
		i++
		switch c := v[i]; c {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'u':
			if i+4 < len(v) {
				if code, ok := hex4(v[i+1 : i+5]); ok {
					out = append(out, string(code)...)
					i += 4
					continue
				}
			}
			out = append(out, c)
		default:
			out = append(out, c)
		}
	}
	return out
}

func hex4(b []byte) (rune, bool) {
	var r rune
	for _, c := range b {
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case isHex(c):
			r = r<<4 | rune(lowerByte(c)-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// scan finds the secrets of a line.
func (p *pass) scan(line []byte) { p.scanFrom(line, 0) }

// runLeast is the length from which a run of letters, digits and the signs of base64 is looked at by itself.
const runLeast = 16

func (p *pass) scanFrom(line []byte, start int) {
	a := scanner()
	k := &p.r.known
	knownTo := 0 // within a known value nothing else is looked for
	state, run := 0, 0
	var done places
	for i := start; i < len(line); i++ {
		c := line[i]
		if k.count > 0 && i >= knownTo && i+4 <= len(line) {
			head := binary.LittleEndian.Uint32(line[i:])
			if h := slot(head); k.filter[h>>5]&(1<<(h&31)) != 0 {
				if n, value := k.at(line, i); n > 0 {
					p.add(i, i+n, "known", value)
					knownTo = i + n
				}
			}
		}
		state = int(a.next[state*a.classes+int(a.class[c])])
		if due := a.due[state]; due != 0 && i >= knownTo {
			p.look(line, i+1, due, &done)
		}
		if runByte[c] {
			run++
			continue
		}
		if run >= runLeast {
			p.run(line, i-run, i)
		}
		run = 0
	}
	if run >= runLeast {
		p.run(line, len(line)-run, len(line))
	}
	p.literals(line, start)
}

var runByte = func() (t [256]bool) {
	for c := range 256 {
		b := byte(c)
		t[c] = isAlnum(b) || b == '+' || b == '/' || b == '=' || b == '-' || b == '_'
	}
	return t
}()

// places remember how far each handler has looked, so that two triggers in one word do not count twice.
type places struct{ name, url, program, hash, percent int }

// look has the handlers that are due look at the place where a trigger ended.
func (p *pass) look(line []byte, end int, due handler, done *places) {
	if due&onFormat != 0 {
		if from, to, kind := formatAt(line, end); to > 0 {
			p.secret(line, from, to, kind)
		}
	}
	if due&onName != 0 && end > done.name {
		done.name = p.name(line, end)
	}
	if due&onURL != 0 && end > done.url {
		done.url = p.url(line, end)
	}
	if due&onScheme != 0 {
		p.scheme(line, end)
	}
	if due&onKey != 0 {
		p.keyBegins(line, end)
	}
	if due&onProgram != 0 && end > done.program {
		done.program = p.program(line, end)
	}
	if due&onDSN != 0 {
		p.dsn(line, end)
	}
	if due&onHash != 0 && end > done.hash {
		done.hash = p.hash(line, end)
	}
	if due&onHook != 0 {
		p.hook(line, end)
	}
	if due&onWord != 0 {
		p.identified(line, end)
	}
	if due&onPgpass != 0 {
		p.pgpass(line, end)
	}
	if due&onPercent != 0 && end > done.percent {
		done.percent = p.percent(line, end)
	}
	if due&onMail != 0 {
		p.userinfo(line, end-1)
		if p.r.opts.Emails {
			p.mail(line, end-1)
		}
	}
}

// write appends the line with a token for each span; spans that overlap are one.
func (p *pass) write(out, line []byte) []byte {
	if len(p.spans) == 0 {
		return append(out, line...)
	}
	slices.SortStableFunc(p.spans, func(a, b span) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return b.to - a.to
	})
	at := 0
	for i := 0; i < len(p.spans); {
		s := p.spans[i]
		for i++; i < len(p.spans) && p.spans[i].from < s.to; i++ {
			o := p.spans[i]
			if o.to > s.to {
				s.to, s.value = o.to, nil
			}
			// The whole of a value that is known, without a quote or a comma that another detector took along: its token is the one.
			if o.kind == "known" && s.kind != "known" && o.value == nil && o.to-o.from+2 >= s.to-s.from {
				s.value = line[o.from:o.to]
			}
		}
		out = append(out, line[at:s.from]...)
		v := s.value
		if v == nil {
			v = line[s.from:s.to]
		}
		if isToken(v) && len(v) == tokenLen {
			out = append(out, v...)
		} else {
			out = append(out, p.r.take(p.member, s.kind, v)...)
		}
		at = s.to
	}
	return append(out, line[at:]...)
}
