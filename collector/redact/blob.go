package redact

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"io"
	"unicode"
	"unicode/utf8"
)

// run looks at a run of letters, digits and base64's signs: what it holds if it is an encoding, and whether it looks like made by chance.
func (p *pass) run(line []byte, from, to int) {
	text := line[from:to]
	// A name stuck to it is not part of it: key=, --token=.
	if i := bytes.IndexByte(text, '='); i >= 0 && i < len(bytes.TrimRight(text, "=")) {
		if i > 0 && i >= runLeast {
			p.run(line, from, from+i)
		}
		p.run(line, from+i+1, to)
		return
	}
	if from > 0 && escaped(line, from+1) && line[from-1] == '\\' { // the n of \n
		from++
	}
	if text = line[from:to]; len(text) < runLeast {
		return
	}
	// Most runs are paths, names and ids without a capital: base64 has some, so they can only be hexadecimal.
	uppers, digits := 0, 0
	for _, c := range text {
		if isUpper(c) {
			uppers++
		} else if isDigit(c) {
			digits++
		}
	}
	if uppers == 0 && digits < 5 {
		return
	}
	if uppers > 0 || hexOnly(text) {
		if kind, secret := p.blob(text); secret {
			p.secret(line, from, to, kind)
			return
		}
	}
	if !p.public && (uppers > 1 || digits >= 5) {
		p.random(line, from, to)
	}
}

// random takes out what looks like made by chance; of a path or a name with dashes, the parts that do.
func (p *pass) random(line []byte, from, to int) {
	text := line[from:to]
	if !isPath(text) && isRandom(text) {
		if !p.isHarmless(text) {
			p.secret(line, from, to, "random")
		}
		return
	}
	if !bytes.ContainsAny(text, "/-_+") {
		return
	}
	for start := from; start < to; {
		end := start
		for end < to && isAlnum(line[end]) {
			end++
		}
		if end-start >= 20 && isRandom(line[start:end]) && !p.isHarmless(line[start:end]) {
			p.secret(line, start, end, "random")
		}
		start = end + 1
	}
}

// isPath tells of a text in which a whole word stands between slashes.
func isPath(text []byte) bool {
	if bytes.IndexByte(text, '/') < 0 {
		return false
	}
	for part := range bytes.SplitSeq(text, []byte("/")) {
		if len(part) >= 4 && len(part) < len(text) && isWord(part) {
			return true
		}
	}
	return false
}

// isRandom tells of a text of at least 20 characters in which small letters, capitals and digits follow each other as they do by chance:
// in names and paths they come in words.
func isRandom(text []byte) bool {
	text = bytes.TrimRight(text, "=")
	if len(text) < 20 {
		return false
	}
	var lowers, uppers, digits, beyond, signs, changes, pairs int
	class := func(c byte) int {
		switch {
		case isLower(c):
			return 1
		case isUpper(c):
			return 2
		case isDigit(c):
			return 3
		}
		return 0
	}
	before := 0
	for _, c := range text {
		k := class(c)
		switch k {
		case 1:
			lowers++
			if c > 'f' {
				beyond++
			}
		case 2:
			uppers++
		case 3:
			digits++
		default:
			signs++
		}
		if before != 0 && k != 0 {
			pairs++
			if k != before && (before != 2 || k != 1) { // a capital begins a word
				changes++
			}
		}
		before = k
	}
	switch {
	case pairs < 12 || signs*5 > len(text):
		return false
	case lowers > 0 && uppers > 0 && (digits > 0 || len(text) >= 32):
		return changes*100 >= pairs*22 && min(lowers, uppers) >= 2
	case lowers > 0 && digits >= 5 && uppers == 0 && beyond*4 >= lowers && signs == 0:
		return len(text) >= 24 && changes*100 >= pairs*30
	}
	return false
}

func hexOnly(text []byte) bool {
	for _, c := range text {
		if !isHex(c) {
			return false
		}
	}
	return true
}

// decoded takes base64 or hexadecimal off a text; nil if it is neither.
func decoded(text []byte) []byte {
	if hexOnly(text) && len(text)%2 == 0 {
		out, err := hex.DecodeString(string(text))
		if err == nil && mostlyText(out) {
			return out
		}
		return nil
	}
	bare := bytes.TrimRight(text, "=")
	if len(bare)%4 == 1 {
		bare = bare[:len(bare)-1]
	}
	enc := base64.RawStdEncoding
	if bytes.ContainsAny(bare, "-_") {
		if bytes.ContainsAny(bare, "+/") {
			return nil
		}
		enc = base64.RawURLEncoding
	}
	// The first characters tell whether it is worth going on: most runs are no base64.
	head := make([]byte, 12)
	n, err := enc.Decode(head, bare[:min(len(bare)/4*4, 16)])
	if err != nil || n == 0 || !mostlyText(head[:n]) && !isPacked(head[:n]) {
		return nil
	}
	out := make([]byte, enc.DecodedLen(len(bare)))
	if n, err = enc.Decode(out, bare); err != nil {
		return nil
	}
	return out[:n]
}

// isPacked tells of the first bytes of gzip, zlib and DER.
func isPacked(b []byte) bool {
	return len(b) > 3 && (b[0] == 0x1f && b[1] == 0x8b || b[0] == 0x78 && (b[1] == 0x9c || b[1] == 0xda || b[1] == 1 || b[1] == 0x5e) || b[0] == 0x30 && b[1] >= 0x80 || bytes.HasPrefix(b, []byte("openssh")))
}

func mostlyText(b []byte) bool {
	if len(b) == 0 || !utf8.Valid(trimRune(b)) {
		return false
	}
	for _, c := range b {
		if c < ' ' && !isSpace(c) {
			return false
		}
	}
	return true
}

// trimRune takes a cut character off the end.
func trimRune(b []byte) []byte {
	for n := 1; n <= 3 && n <= len(b); n++ {
		if utf8.RuneStart(b[len(b)-n]) {
			if !utf8.FullRune(b[len(b)-n:]) {
				return b[:len(b)-n]
			}
			break
		}
	}
	return b
}

// isHarmless tells of an encoding of text in which no secret was found.
func (p *pass) isHarmless(text []byte) bool {
	d := decoded(text)
	if d == nil || !mostlyText(d) {
		return false
	}
	for _, r := range string(d) {
		if r != utf8.RuneError && !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return false
		}
	}
	return true
}

// blob tells whether an encoded text holds a secret. What is found in it is learned.
func (p *pass) blob(text []byte) (kind string, secret bool) {
	if p.depth >= maxDepth {
		return "", false
	}
	d := decoded(text)
	if d == nil {
		return "", false
	}
	kind = "base64"
	switch {
	case isPacked(d) && d[0] == 0x30:
		if isKeyDER(d) {
			return "private-key", true
		}
		return "", false
	case isPacked(d) && d[0] == 'o':
		return "private-key", true
	case isPacked(d):
		plain, ok := unpack(d)
		if !ok {
			return "packed", len(d) > 64 // what cannot be looked into
		}
		d, kind = plain, "packed"
	}
	inner := pass{r: p.r, member: "", depth: p.depth + 1}
	return kind, inner.any(d)
}

// any tells whether there is a secret in the text.
func (p *pass) any(text []byte) bool {
	found := false
	for l := range bytes.Lines(text) {
		p.spans = p.spans[:0]
		body := bytes.TrimRight(l, "\r\n")
		if !p.carried(body) {
			p.scan(body)
		}
		found = found || len(p.spans) > 0
	}
	return found
}

// isKeyDER tells of a private key without its PEM armour.
func isKeyDER(d []byte) bool {
	if _, err := x509.ParsePKCS8PrivateKey(d); err == nil {
		return true
	}
	if _, err := x509.ParsePKCS1PrivateKey(d); err == nil {
		return true
	}
	_, err := x509.ParseECPrivateKey(d)
	return err == nil
}

// maxUnpacked bounds what is taken out of gzip within a line of text.
const maxUnpacked = 1 << 20

func unpack(d []byte) ([]byte, bool) {
	var r io.Reader
	var err error
	if d[0] == 0x1f {
		r, err = gzip.NewReader(bytes.NewReader(d))
	} else {
		r, err = zlib.NewReader(bytes.NewReader(d))
	}
	if err != nil {
		return nil, false
	}
	out, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	return out, err == nil && len(out) <= maxUnpacked
}
