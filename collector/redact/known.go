package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"strconv"
	"strings"
)

const (
	leastKnown = 6      // shorter values would be found everywhere
	maxKnown   = 60_000 // values with their encodings, of which each has about twenty
	mostOfLogs = 20_000 // beyond, what stands in a text is taken out there and not learned: settings count for more
	maxValue   = 16 << 10
)

// known are values that are secrets wherever they stand, each in the encodings it may come in.
type known struct {
	filter [1 << 13]uint32 // a bit for the hash of the first four bytes of each form
	forms  map[uint32][]form
	seen   map[string]bool
	count  int
}

// form is one encoding of a value.
type form struct {
	text  []byte
	value []byte // for the token; nil: the form itself
	alone bool   // only between characters that are no letters or digits
}

func slot(head uint32) uint32 { return head * 2654435761 >> 14 }

// at answers the length of the longest known form that stands in line at i, and its value; 0 if there is none.
func (k *known) at(line []byte, i int) (n int, value []byte) {
	head := binary.LittleEndian.Uint32(line[i:])
	h := slot(head)
	if k.filter[h>>5]&(1<<(h&31)) == 0 {
		return 0, nil
	}
	for _, f := range k.forms[head] {
		if len(f.text) <= n || !bytes.HasPrefix(line[i:], f.text) {
			continue
		}
		if end := i + len(f.text); f.alone && (i > 0 && isAlnum(line[i-1]) && !escaped(line, i) || end < len(line) && isAlnum(line[end])) {
			continue
		}
		n, value = len(f.text), f.value
	}
	return n, value
}

// commonValues are what is set where a secret ought to be, and what stands for something else too often.
var commonValues = wordSet(`password passwd secret changeme default example localhost postgres mysql redis admin administrator administrators production staging development
	test testing sandbox enabled disabled required optional undefined anonymous username internal external container containers amazon amazonaws docker service services
	application authorization credentials fluentd logging json-file awslogs linux system daemon master worker cluster network rabbitmq guest nobody public private`)

// worth tells whether a value may be taken out wherever it stands.
func worth(v []byte) bool {
	if len(v) < leastKnown || len(v) > maxValue || isTrivial(v) || bytes.Contains(v, []byte(tokenPrefix)) || commonValues[strings.ToLower(string(v))] {
		return false
	}
	var lowers, uppers, digits, others int
	for _, c := range v {
		switch {
		case isLower(c):
			lowers++
		case isUpper(c):
			uppers++
		case isDigit(c):
			digits++
		default:
			others++
		}
	}
	switch {
	case digits == len(v): // a port, a time, an account
		return len(v) >= 16
	case v[0] == '/' && digits*4 < len(v): // a path
		return false
	case lowers == len(v) || uppers == len(v):
		return len(v) >= 8
	}
	return true
}

// learn adds a value, its lines if it has several, and their encodings.
func (k *known) learn(v []byte) {
	v = bytes.TrimSpace(v)
	if bytes.IndexByte(v, '\n') >= 0 && len(v) <= maxValue {
		for l := range bytes.Lines(v) {
			if l = bytes.TrimSpace(l); len(l) >= 16 && !bytes.HasPrefix(l, []byte("----")) { // the marks of a key are none
				k.learn(l)
			}
		}
		return
	}
	if !worth(v) || bytes.HasPrefix(v, []byte("-----BEGIN")) && len(v) < 64 || k.seen[string(v)] || k.count >= maxKnown {
		return
	}
	if k.seen == nil {
		k.seen, k.forms = map[string]bool{}, map[uint32][]form{}
	}
	v = bytes.Clone(v)
	k.seen[string(v)] = true
	if pair, err := base64.StdEncoding.DecodeString(string(v)); err == nil && mostlyText(pair) { // user:password of a registry
		if _, password, ok := bytes.Cut(pair, []byte(":")); ok {
			k.learn(password)
		}
	}
	wordy := true
	for _, c := range v {
		wordy = wordy && (isLower(c) || c == '-' || c == '_')
	}
	k.add(form{text: v, alone: wordy || len(v) < 8}, nil)
	for _, f := range encodings(v) {
		k.add(form{text: f, value: v, alone: false}, v)
	}
}

func (k *known) add(f form, raw []byte) {
	if len(f.text) < leastKnown || raw != nil && bytes.Equal(f.text, raw) {
		return
	}
	head := binary.LittleEndian.Uint32(f.text)
	for _, o := range k.forms[head] {
		if bytes.Equal(o.text, f.text) {
			return
		}
	}
	k.forms[head] = append(k.forms[head], f)
	h := slot(head)
	k.filter[h>>5] |= 1 << (h & 31)
	k.count++
}

// encodings are the forms in which a value stands in other texts.
func encodings(v []byte) [][]byte {
	var list [][]byte
	inJSON := func(s []byte, escapeHTML bool) []byte {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(escapeHTML)
		if e.Encode(string(s)) != nil {
			return nil
		}
		text := bytes.TrimSpace(b.Bytes())
		return text[1 : len(text)-1]
	}
	for _, escapeHTML := range []bool{false, true} {
		once := inJSON(v, escapeHTML)
		list = append(list, once, inJSON(once, escapeHTML), inJSON(inJSON(once, escapeHTML), escapeHTML))
	}
	list = append(list, bytes.ReplaceAll(v, []byte("/"), []byte(`\/`)))
	ascii := strconv.QuoteToASCII(string(v))
	list = append(list, []byte(ascii[1:len(ascii)-1]), []byte(gson.Replace(string(v))))
	query, path := url.QueryEscape(string(v)), url.PathEscape(string(v))
	list = append(list, []byte(query), []byte(path), []byte(strings.ReplaceAll(query, "+", "%20")), lowerPercents(query), lowerPercents(path))
	list = append(list, []byte(html.EscapeString(string(v))), []byte(strings.ReplaceAll(string(v), "&", "&amp;")))
	list = append(list, []byte(hex.EncodeToString(v)), []byte(strings.ToUpper(hex.EncodeToString(v))))
	// The value may stand anywhere in what was encoded: three alignments, without the characters that its neighbours share.
	for shift := range 3 {
		padded := append(make([]byte, shift, shift+len(v)), v...)
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			b := []byte(enc.EncodeToString(padded))
			from, to := (shift*8+5)/6, len(padded)*8/6
			if b = b[from:to]; len(b) >= 8 {
				list = append(list, b)
			}
		}
	}
	return list
}

// gson escapes what Google's JSON library does, for pages.
var gson = strings.NewReplacer(`"`, `\"`, `\`, `\\`, "<", `\u003c`, ">", `\u003e`, "&", `\u0026`, "=", `\u003d`, "'", `\u0027`)

func lowerPercents(s string) []byte {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			b[i+1], b[i+2] = lowerByte(b[i+1]), lowerByte(b[i+2])
		}
	}
	return b
}
