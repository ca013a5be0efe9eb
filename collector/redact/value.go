package redact

import "bytes"

func nameByte(c byte) bool {
	return isAlnum(c) || c == '_' || c == '-' || c == '.' || c == '@' || c == '$' || c >= 0x80
}

// name looks at the name that has a trigger before end, and takes out what is set under it. It answers up to where it has looked.
func (p *pass) name(line []byte, end int) int {
	from, to := end-1, end
	for from > 0 && nameByte(line[from-1]) && end-from < 80 {
		from--
	}
	for to < len(line) && nameByte(line[to]) && to-end < 80 && !hasFold(line[to:], "：") && !hasFold(line[to:], "＝") {
		to++
	}
	// An escape's letter is not the name's: \npassword, \u0022password.
	if from > 0 && line[from-1] == '\\' && to-from > 1 {
		if from++; line[from-1] == 'u' && from+4 < to {
			from += 4
		}
	}
	name := bytes.TrimRight(line[from:to], ".")
	dashed := len(name) > 1 && name[0] == '-'
	kind, secret := judge(name)
	if !secret {
		// "Secret Access Key:", "pass phrase =": the words before it belong to it.
		wide := from
		for range 2 {
			if wide > 1 && line[wide-1] == ' ' && isAlnum(line[wide-2]) {
				for wide--; wide > 0 && isAlnum(line[wide-1]); {
					wide--
				}
			}
		}
		if wide == from {
			return to
		}
		joined := bytes.ReplaceAll(line[wide:to], []byte(" "), []byte("_"))
		if kind, secret = judge(joined); !secret {
			return to
		}
		if i := afterName(line, to); i >= len(line) || line[i] != ':' && line[i] != '=' { // prose speaks of keys
			return to
		}
	}
	if kind == kindDSN {
		kind = kindSecret
	}
	p.setting(line, from, to, kind, dashed)
	return to
}

// afterName skips what may close a name: quotes, escapes, brackets, blanks.
func afterName(line []byte, i int) int {
	for i < len(line) {
		if n := quoteLen(line, i); n > 0 {
			i += n
			continue
		}
		if c := line[i]; c == ']' || c == ')' || c == ' ' || c == '\t' {
			i++
			continue
		}
		if hasFold(line[i:], "%5d") {
			i += 3
			continue
		}
		if line[i] == '[' { // password[0]=
			j := i + 1
			for j < len(line) && j < i+24 && (isAlnum(line[j]) || line[j] == '_') {
				j++
			}
			if j < len(line) && line[j] == ']' {
				i = j + 1
				continue
			}
		}
		break
	}
	return i
}

// quoteLen is the length of a quotation mark, with the backslashes before it, in any of the ways in which texts inside texts write it.
func quoteLen(line []byte, i int) int {
	j := i
	for j < len(line) && line[j] == '\\' {
		j++
	}
	if j < len(line) && (line[j] == '"' || line[j] == '\'' || line[j] == '`') {
		return j - i + 1
	}
	for _, q := range quotes {
		if hasFold(line[i:], q) {
			return len(q)
		}
	}
	return 0
}

var quotes = []string{`\u0022`, `\u0027`, `\\u0022`, "&quot;", "&#34;", "&#39;", "&apos;", "%22", "%27", "“", "”", "„"}

func hasFold(text []byte, prefix string) bool {
	if len(text) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if lowerByte(text[i]) != lowerByte(prefix[i]) {
			return false
		}
	}
	return true
}

var signs = []string{":=", "=>", `=\u003e`, `=\\u003e`, `-\u003e`, `-\\u003e`, "=&gt;", "==", "->", "::", "=", ":", `\u003d`, `\u003a`, "%3d", "%3a", "&#61;", "＝", "："}

// setting takes out what is set under the secret name in line[from:to].
func (p *pass) setting(line []byte, from, to int, kind string, dashed bool) {
	weak := !dashed && (kind == kindToken || kind == kindKey || kind == kindAuth || kind == kindSession || kind == kindCookie || kind == kindSecret)
	opened := from > 0 && (line[from-1] == '"' || line[from-1] == '\'')
	head := min(p.head, from)
	i := afterName(line, to)
	closed := i > to && bytes.ContainsAny(line[to:i], `"'`)
	first := !dashed && (startsLine(line[head:], from-head) || kind == kindPassword && opened && !closed && from > 1 && bytes.IndexByte([]byte(":=, ["), line[from-2]) >= 0) // of a line, or of a text in quotes
	// {"name": "DB_PASSWORD", "value": "..."}, and the value before the name.
	if opened && closed {
		if j := valueField(line, i); j >= 0 {
			p.take(line, j, kind, false, false)
			return
		}
		if rest := bytes.TrimLeft(line[i:], " ,}]"); len(rest) == 0 && isNameField(line, from) {
			p.valueOf = true
			p.valueBefore(line, from, kind)
			return
		}
		p.valueBefore(line, from, kind)
	}
	if i >= len(line) && !dashed && isNameField(line, from) { // name: DB_PASSWORD, and its value in the next line
		p.valueOf = true
		return
	}
	// <password>...</password>, <password kind="x">..., <entry key="password">...
	if from > 0 && i < len(line) && line[i] != '>' && (line[from-1] == '<' || line[from-1] == ':' && from > 1 && isAlnum(line[from-2])) {
		if j := bytes.IndexByte(line[i:], '>'); j > 0 && line[i+j-1] != '/' && bytes.IndexByte(line[i:i+j], '<') < 0 && bytes.IndexByte(line[i:i+j], '=') > 0 && isAlnum(line[i]) {
			i += j
		}
	}
	if from > 0 && i < len(line) && line[i] == '>' && (line[from-1] == '<' || line[from-1] == ':' || opened && closed && isNameField(line, from)) {
		if end := bytes.IndexByte(line[i:], '<'); end > 1 {
			if v := line[i+1 : i+end]; !isTrivial(bytes.TrimSpace(v)) {
				p.secret(line, i+1, i+end, kind)
			}
		} else if end < 0 {
			p.next = true
		}
		return
	}
	for _, s := range signs {
		if hasFold(line[i:], s) {
			p.take(line, i+len(s), kind, first, weak && !opened)
			return
		}
	}
	if i >= len(line) {
		p.next = dashed // --password at the end of a line
		return
	}
	if from > 0 && (line[from-1] == '/' || line[from-1] == '=') { // the end of a path, a value
		return
	}
	switch c := line[i]; {
	case c == ',' && (dashed || opened && closed && from > 1 && line[from-1] != ' '):
		// "--password", "hunter2"
		if !dashed && line[from-2] != '(' { // define('DB_PASSWORD', 'hunter2')
			return
		}
		j := i + 1
		for j < len(line) && isSpace(line[j]) {
			j++
		}
		if j == len(line) {
			p.next = true
			return
		}
		if quoteLen(line, j) > 0 {
			p.take(line, j, kind, false, false)
		}
	case c == '\\' && dashed && len(bytes.TrimSpace(line[i+1:])) == 0:
		p.next = true
	case c == '(' && quoteLen(line, i+1) > 0: // PASSWORD('...')
		p.take(line, i+1, kind, false, false)
	case i == to: // no blank: another word
	case dashed || quoteLen(line, to+1) > 0 && kind == kindPassword:
		if c == '-' && dashed { // the next flag
			return
		}
		p.take(line, i, kind, false, false)
	case quoteBetween(line, to, i):
		p.take(line, i-1, kind, false, false)
	default:
		p.prose(line, from, to, i, kind, first)
	}
}

// quoteBetween tells of a value that begins with a quote right after the name and a blank: PASSWORD 'x'.
func quoteBetween(line []byte, to, i int) bool {
	return i-to >= 2 && isSpace(line[to]) && (line[i-1] == '"' || line[i-1] == '\'')
}

// prose looks for a value after a name and a blank: "password is hunter2", "login x password y", a directive of a configuration.
func (p *pass) prose(line []byte, from, to, i int, kind string, first bool) {
	word := func(i int) (int, int) {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		j := i
		for j < len(line) && !isSpace(line[j]) {
			j++
		}
		return i, j
	}
	a, b := word(i)
	if c, _ := word(b); first && c >= len(line) && b > a && !isTrivial(line[a:b]) && (kind == kindPassword || hasDigit(line[a:b]) || bytes.ContainsAny(line[from:to], "_-.")) {
		p.secret(line, a, b, kind) // a directive: requirepass x, ENV DB_PASSWORD x
		return
	}
	before := lower(string(line[:from]))
	if kind == kindPassword && (bytes.Contains([]byte(before), []byte("login ")) || bytes.Contains([]byte(before), []byte("machine "))) { // .netrc
		if b > a {
			p.secret(line, a, b, kind)
		}
		return
	}
	if kind != kindPassword && kind != kindKey && kind != kindToken && kind != kindSecret {
		return
	}
	if kind == kindPassword && line[len(line)-1] == ':' { // "the password to proceed:"
		p.chosen = 2
	}
	named := false
	for range 6 { // "password for user root is now x", "password for root: x"
		if a == b {
			return
		}
		w := line[a:b]
		if w[len(w)-1] == ':' || w[len(w)-1] == '=' {
			if kind == kindPassword && b < len(line) {
				p.take(line, b, kind, false, true)
			}
			return
		}
		if looksChosen(w) {
			q := 0
			for q < len(w) && (w[q] == '"' || w[q] == '\'' || w[q] == '`' || w[q] == '(') {
				q++
			}
			e := len(w)
			for e > q && bytes.IndexByte([]byte(`"'`+"`"+`,;.)`), w[e-1]) >= 0 {
				e--
			}
			p.secret(line, a+q, a+e, kind)
			return
		}
		filler := lower(string(w))
		if !fillers[filler] && !named {
			return
		}
		named = filler == "user" || filler == "for" || filler == "of" || filler == "account"
		a, b = word(b)
	}
}

var fillers = wordSet(`is was generated to for of the user root admin set as now be been has new old reset changed with using your my this a an account value`)

// looksChosen tells of a word that somebody made up: no word of prose, no number, no path, no address.
func looksChosen(w []byte) bool {
	w = bytes.Trim(w, "\"'`,;.()")
	if len(w) < 6 || w[0] == '/' || bytes.IndexByte(w[:len(w)-1], '=') > 0 || bytes.Contains(w, []byte("://")) || isToken(w) {
		return false
	}
	var letters, digits, others, upper int
	for i, c := range w {
		switch {
		case isDigit(c):
			digits++
		case isUpper(c) && i > 0:
			upper++
			letters++
		case isAlnum(c):
			letters++
		default:
			others++
		}
	}
	return letters > 0 && (digits > 0 && digits+letters >= len(w)/2 || others > 0 && bytes.ContainsAny(w, "!@#$%^&*")) || letters > 0 && upper > 1 && len(w) >= 8
}

// startsLine tells whether nothing but the words that set things stands before.
func startsLine(line []byte, from int) bool {
	before := bytes.TrimLeft(line[:from], " \t-\"'#;")
	switch lower(string(bytes.TrimRight(before, " \t\"'"))) {
	case "", "echo", "export", "set", "env", "arg", "setenv", "environment=", "define", "declare -x", "local", "readonly", "passenvironment=", "password", "requirepass":
		return true
	}
	return false
}

// valueField answers where the value begins if a field called "value" comes next: "DB_PASSWORD", "value": ...; else -1.
func valueField(line []byte, i int) int {
	for i < len(line) && (isSpace(line[i]) || line[i] == ',' || line[i] == '-' || line[i] == '{') {
		i++
	}
	i += quoteLen(line, i)
	for _, w := range []string{"defaultvalue", "parametervalue", "secretvalue", "value", "content", "val"} {
		if hasFold(line[i:], w) {
			j := afterName(line, i+len(w))
			for _, s := range []string{":", "=", `\u003d`} {
				if hasFold(line[j:], s) {
					return j + len(s)
				}
			}
		}
	}
	return -1
}

// isNameField tells whether what begins at from is set under "name" or "key".
func isNameField(line []byte, from int) bool {
	before := lower(string(bytes.TrimRight(line[:from], " :=\\\"'\t")))
	for _, w := range []string{"name", "key", "parameter", "field"} {
		if len(before) >= len(w) && before[len(before)-len(w):] == w {
			return true
		}
	}
	return false
}

// valueBefore takes the value out of {"value": "...", "name": "DB_PASSWORD"}.
func (p *pass) valueBefore(line []byte, from int, kind string) {
	if !isNameField(line, from) {
		return
	}
	start := max(0, from-4096)
	if i := bytes.LastIndexByte(line[start:from], '{'); i >= 0 {
		start += i
	}
	for i := start; i < from; i++ {
		if hasFold(line[i:from], "value") && (i == 0 || !isAlnum(line[i-1])) {
			if j := valueField(line[:from], i); j >= 0 {
				p.take(line[:from], j, kind, false, false)
				return
			}
		}
	}
}

// take takes out the value that begins at i. whole says that it may go on to the end of the line, weak that short numbers are none.
func (p *pass) take(line []byte, i int, kind string, whole, weak bool) {
	if rest := bytes.TrimSpace(line[i:]); len(rest) <= 3 && len(bytes.Trim(rest, "|>-+0123456789")) == 0 && (len(rest) == 0 || rest[0] == '|' || rest[0] == '>') {
		// "password:" or "password: |": what is indented below it.
		indent := p.head
		for indent < len(line) && (line[indent] == ' ' || line[indent] == '\t' || line[indent] == '-' && indent+1 < len(line) && line[indent+1] == ' ') {
			indent++
		}
		switch {
		case len(rest) == 0 && i > 1 && (line[i-2] == '"' || line[i-2] == '\''): // "password":
			p.next = true
		case (line[i-1] == ':' || line[i-1] == '=') && whole:
			p.below = indent - p.head + 1
		case len(rest) == 0 && kind == kindPassword:
			p.chosen = 2 // "use the following password:", and it comes by itself
		}
		return
	}
	// What a program logs behind "token:" is more often a sentence about it.
	from, to, closed := p.value(line, i, whole && (kind == kindPassword || p.head == 0) || kind == kindCookie)
	v := line[from:to]
	switch {
	case isTrivial(v), kind == kindAuth && isWord(v) && line[i] == ' ' && to < len(line) && line[to] == ' ': // authorization: authorization failed
		return
	case weak && len(v) < 6 && onlyDigits(v), (kind == kindSession || kind == kindAuth || kind == kindToken) && weak && len(v) < 4:
		return
	}
	if whole && line[from] == '{' { // ECS_ENGINE_AUTH_DATA={ and so on, over lines
		if open := bytes.Count(line[from:], []byte("{")) - bytes.Count(line[from:], []byte("}")); open > 0 {
			to, p.braces, p.braced = len(line), open, 0
		}
	}
	p.secret(line, from, to, kind)
	if !closed {
		if q := bytes.TrimLeft(line[i:], " \t"); len(q) > 0 && (q[0] == '"' || q[0] == '\'') && p.depth == 0 {
			p.quote, p.quoted = q[0], 0
		}
	}
}

func isWord(v []byte) bool {
	for _, c := range v {
		if !isLower(c) {
			return false
		}
	}
	return true
}

func onlyDigits(v []byte) bool {
	for _, c := range v {
		if !isDigit(c) && c != '.' {
			return false
		}
	}
	return true
}

// value answers where the value that begins at i, after blanks and a quote, lies. closed says that its quote was, if it had one. whole: a value
// without quotes may hold blanks.
func (p *pass) value(line []byte, i int, whole bool) (from, to int, closed bool) {
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	if i >= len(line) {
		return i, i, true
	}
	slashes := 0
	for i+slashes < len(line) && line[i+slashes] == '\\' {
		slashes++
	}
	if j := i + slashes; j < len(line) && (line[j] == '"' || line[j] == '\'' || line[j] == '`') {
		quote := line[j]
		for k := j + 1; k < len(line); k++ {
			if line[k] != quote {
				continue
			}
			back := 0
			for k-back > j+1 && line[k-back-1] == '\\' {
				back++
			}
			if slashes == 0 && back%2 == 0 || slashes > 0 && back <= slashes && back > 0 || slashes > 0 && back == 0 && quote == '\'' {
				if slashes == 0 {
					back = 0
				}
				return j + 1, k - min(back, slashes), true
			}
		}
		return j + 1, len(line), false
	}
	for _, q := range quotes {
		if hasFold(line[i:], q) {
			if end := indexFold(line[i+len(q):], q); end >= 0 {
				return i + len(q), i + len(q) + end, true
			}
			return i + len(q), len(line), true
		}
	}
	// Authorization: Basic dXNlcjpwYXNz
	for _, s := range []string{"basic ", "bearer ", "digest ", "token ", "negotiate ", "ntlm ", "aws4-hmac-sha256 ", "apikey ", "sswS "} {
		if hasFold(line[i:], s) {
			i += len(s)
			whole = whole || s[0] == 'd' || s[0] == 'a'
			if s[0] == 'd' { // names and values, quoted
				for to = i; to < len(line) && line[to] != '\'' && line[to] != '\\'; {
					to++
				}
				return i, to, true
			}
			for i < len(line) && line[i] == ' ' {
				i++
			}
			break
		}
	}
	from, to = i, i
	list := line[i] == '[' || line[i] == '{' // [a, b]
	for to < len(line) {
		c := line[to]
		if !whole && !list && isSpace(c) || list && to > from && (c == ']' || c == '}') {
			break
		}
		if whole && c == ' ' && (setsNext(line, to+1) || bytes.HasPrefix(line[to:], []byte(" #"))) {
			break
		}
		if (c == '"' || c == '\'') && !list && to > from && (to+1 >= len(line) || bytes.IndexByte([]byte(" ,}])\\;\t"), line[to+1]) >= 0) {
			break // the quote of what stands round it
		}
		if c == '\\' && to+1 < len(line) && (line[to+1] == '"' || line[to+1] == 'n' || line[to+1] == 'r' || line[to+1] == '\\' && to+2 < len(line) && (line[to+2] == '"' || line[to+2] == 'n')) {
			break
		}
		if (c == '&' || c == ';' || c == ',' || c == '|') && setsNext(line, to+1) {
			break
		}
		if c == '\\' && (hasFold(line[to:], `\u0026`) && setsNext(line, to+6) || hasFold(line[to:], `\u0022`) || hasFold(line[to:], `\u0027`)) {
			break
		}
		if c == '%' && hasFold(line[to:], "%26") && setsNext(line, to+3) || c == '&' && (hasFold(line[to:], "&quot;") || hasFold(line[to:], "&amp;") && setsNext(line, to+5)) {
			break
		}
		if c == '<' && to > from && bytes.HasPrefix(line[to:], []byte("</")) {
			break
		}
		to++
	}
	for to > from {
		c := line[to-1]
		opens, closes := byte(0), bytes.IndexByte([]byte(`)]}`), c)
		if closes >= 0 {
			opens = `([{`[closes]
		}
		if !isSpace(c) && c != ',' && c != ';' && (closes < 0 || bytes.IndexByte(line[from:to], opens) >= 0) {
			break
		}
		to--
	}
	return from, to, true
}

// setsNext tells whether another name with its value begins at i, after blanks. What does not is taken for a part of the value before it.
func setsNext(line []byte, i int) bool {
	for i < len(line) && line[i] == ' ' {
		i++
	}
	if i >= len(line) {
		return true
	}
	i += quoteLen(line, i)
	start := i
	for i < len(line) && (isAlnum(line[i]) || line[i] == '_' || line[i] == '-' || line[i] == '.' || line[i] == ' ' && i > start) {
		i++
	}
	if i == start {
		return false
	}
	i += min(quoteLen(line, i), len(line)-i)
	return i < len(line) && (line[i] == '=' || line[i] == ':') || hasFold(line[i:], "%3d") || hasFold(line[i:], `\u003d`)
}

func indexFold(text []byte, s string) int {
	for i := range text {
		if hasFold(text[i:], s) {
			return i
		}
	}
	return -1
}
