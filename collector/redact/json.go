package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// JSON answers a document as it may be shown, indented, its keys in their order. What is set under a name that is not allowed is
// taken out of environments and labels, what is secret by its name everywhere, and every text in it is looked over by itself, without
// the escapes that it has in the document.
func (r *Redactor) JSON(member string, text []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := readJSON(d, 0)
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read JSON: something stands behind the document")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := walker{r: r, member: member}
	w.settings(v, "") // learns before anything is shown: a label may repeat what an environment below it says is secret
	v = w.walk(v, "", false)
	var b bytes.Buffer
	writeJSON(&b, v, 0)
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// object is a JSON object whose keys keep their order.
type object []field

type field struct {
	key   string
	value any
}

const maxNesting = 200

func readJSON(d *json.Decoder, depth int) (any, error) {
	if depth > maxNesting {
		return nil, errors.New("nested too deep")
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := object{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := readJSON(d, depth+1)
			if err != nil {
				return nil, err
			}
			o = append(o, field{k.(string), v})
		}
		_, err := d.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := readJSON(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return t, nil
}

func writeJSON(b *bytes.Buffer, v any, depth int) {
	indent := func(n int) {
		b.WriteByte('\n')
		b.WriteString(strings.Repeat("    ", n))
	}
	switch v := v.(type) {
	case object:
		b.WriteByte('{')
		for i, f := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			indent(depth + 1)
			writeScalar(b, f.key)
			b.WriteString(": ")
			writeJSON(b, f.value, depth+1)
		}
		if len(v) > 0 {
			indent(depth)
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			indent(depth + 1)
			writeJSON(b, e, depth+1)
		}
		if len(v) > 0 {
			indent(depth)
		}
		b.WriteByte(']')
	default:
		writeScalar(b, v)
	}
}

func writeScalar(b *bytes.Buffer, v any) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("redact: a value that was read as JSON is none: " + err.Error())
	}
	b.Truncate(b.Len() - 1) // Encode ends the line
}

type walker struct {
	r      *Redactor
	member string
}

// settings learns what environments and secret names hold.
func (w *walker) settings(v any, key string) {
	switch v := v.(type) {
	case object:
		for _, f := range v {
			if text, ok := f.value.(string); ok {
				if _, secret := judge([]byte(f.key)); secret && !isTrivial([]byte(text)) {
					w.r.known.learn([]byte(text))
				}
			}
			w.settings(f.value, f.key)
		}
		if name, value, ok := pair(v); ok {
			if _, secret := judge([]byte(name)); secret {
				w.r.known.learn([]byte(value))
			}
		}
	case []any:
		for _, e := range v {
			if text, ok := e.(string); ok && isEnvironment(key) {
				if name, value, ok := strings.Cut(text, "="); ok {
					w.r.setting("", name, value)
				}
			}
			w.settings(e, key)
		}
	}
}

func isEnvironment(key string) bool {
	switch strings.ToLower(key) {
	case "env", "environment", "environ", "buildargs", "environmentfiles":
		return true
	}
	return false
}

// isCommand tells of keys whose list is a command line.
func isCommand(key string) bool {
	switch strings.ToLower(key) {
	case "cmd", "entrypoint", "args", "command", "test", "shell", "execids", "runtimeargs", "argv":
		return true
	}
	return false
}

// pair answers what {"Name": ..., "Value": ...} sets.
func pair(o object) (name, value string, ok bool) {
	var named, valued bool
	for _, f := range o {
		text, isText := f.value.(string)
		switch strings.ToLower(f.key) {
		case "name", "key":
			name, named = text, isText
		case "value":
			value, valued = text, isText
		}
	}
	return name, value, named && valued
}

// walk answers v as it may be shown. secret: it stands under a secret's name.
func (w *walker) walk(v any, key string, secret bool) any {
	switch v := v.(type) {
	case object:
		out := make(object, 0, len(v))
		name, _, paired := pair(v)
		kind, pairSecret := judge([]byte(name))
		for _, f := range v {
			k := f.key
			if !isPlainKey(k) {
				k = string(w.r.text(w.member, []byte(k), 0))
			}
			_, s := judge([]byte(f.key))
			text, isText := f.value.(string)
			switch {
			case isText && (strings.EqualFold(key, "labels") || strings.EqualFold(key, "attributes") && !ofEvents[f.key]): // an event of the engine's has its container's labels
				out = append(out, field{k, w.label(f.key, text)})
			case isText && isEnvironment(key):
				out = append(out, field{k, w.r.setting(w.member, f.key, text)})
			case isText && paired && strings.EqualFold(f.key, "value") && (pairSecret || isEnvironment(key)):
				if isEnvironment(key) && !pairSecret {
					text = w.r.setting(w.member, name, text)
				} else {
					text = w.taken(kind, text)
				}
				out = append(out, field{k, text})
			default:
				_, list := f.value.([]any)
				_, obj := f.value.(object)
				// What a whole structure is called tells of its texts only where it is not about them: {"Secrets": [{"Name": ..., "ID": ...}]}.
				out = append(out, field{k, w.walk(f.value, f.key, s && !list && !obj || secret && !list || s && list && allText(f.value))})
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		due := false // the word before was a flag for a secret
		for i, e := range v {
			text, isText := e.(string)
			switch {
			case isText && isEnvironment(key):
				out[i] = w.variable(text)
			case isText && isCommand(key):
				if due && !strings.HasPrefix(text, "-") {
					out[i] = w.taken(kindPassword, text)
				} else {
					out[i] = string(w.r.text(w.member, []byte(text), 0))
				}
				_, s := judge([]byte(text))
				due = s && strings.HasPrefix(text, "-") && !strings.ContainsAny(text, "= ")
			default:
				out[i] = w.walk(e, key, secret)
			}
		}
		if isCommand(key) {
			w.line(out)
		}
		return out
	case string:
		if secret {
			kind, _ := judge([]byte(key))
			return w.taken(kind, v)
		}
		return string(w.r.text(w.member, []byte(v), 0))
	}
	return v
}

// isPlainKey tells of a key as programs call their fields. What is made by chance has more digits.
func isPlainKey(k string) bool {
	digits := 0
	for i := range len(k) {
		switch c := k[i]; {
		case isDigit(c):
			digits++
		case !isAlnum(c) && c != '_' && c != '-' && c != '.':
			return false
		}
	}
	return len(k) <= 40 && digits <= 2
}

func allText(v any) bool {
	list, _ := v.([]any)
	for _, e := range list {
		if _, ok := e.(string); !ok {
			return false
		}
	}
	return true
}

func (w *walker) taken(kind, text string) string {
	if isTrivial([]byte(text)) || isToken([]byte(text)) && len(text) == tokenLen {
		return text
	}
	if kind == "" {
		kind = kindSecret
	}
	w.r.known.learn([]byte(text))
	return w.r.take(w.member, kind, []byte(text))
}

// variable is NAME=value.
func (w *walker) variable(text string) string {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return string(w.r.text(w.member, []byte(text), 0))
	}
	return name + "=" + w.r.setting(w.member, name, value)
}

// line looks at the words of a command together: what a program takes after -p is told by the program.
func (w *walker) line(words []any) {
	var line []byte
	var at [][2]int
	for _, e := range words {
		text, ok := e.(string)
		if !ok || strings.ContainsAny(text, "\n") {
			return
		}
		from := len(line)
		line = append(line, text...)
		at = append(at, [2]int{from, len(line)})
		line = append(line, ' ')
	}
	p := pass{r: w.r, member: w.member}
	p.scan(line)
	spans := p.spans
	for i, a := range at {
		p.spans = nil
		for _, s := range spans {
			if s.from >= a[0] && s.to <= a[1] {
				p.spans = append(p.spans, span{s.from - a[0], s.to - a[0], s.kind, s.value})
			}
		}
		if len(p.spans) > 0 {
			words[i] = string(p.write(nil, []byte(words[i].(string))))
		}
	}
}

// allowedLabels begin the labels whose values are names that the tools gave.
var allowedLabels = []string{
	"com.amazonaws.ecs.", "org.opencontainers.image.version", "org.opencontainers.image.title", "org.opencontainers.image.created", "org.opencontainers.image.revision",
	"com.docker.compose.project", "com.docker.compose.service", "com.docker.compose.version", "fairlead", "io.buildah.version",
}

// ofEvents are the attributes of an event that the engine gives it.
var ofEvents = wordSet("name image exitCode signal container type driver destination propagation read/write execID oldName execDuration")

// label is the value of a label as it may be shown.
func (w *walker) label(name, value string) string {
	for _, a := range allowedLabels {
		if strings.HasPrefix(name, a) {
			if _, secret := judge([]byte(name)); !secret {
				return string(w.r.text(w.member, []byte(value), 0))
			}
		}
	}
	if kind, secret := judge([]byte(name)); secret {
		return w.taken(kind, value)
	}
	if isTrivial([]byte(value)) || len(value) <= 3 || onlyDigits([]byte(value)) {
		return value
	}
	_ = w.r.text("", []byte(value), 0)
	return w.r.take(w.member, "label", []byte(value))
}
