package ecsconfig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/internal/document"
)

// Setting is a declared setting, ready to be written.
type Setting struct {
	Key    string
	Value  string
	At     document.Place
	Secret bool  // it holds something that was resolved
	Opaque bool  // what it refers to was not looked up: nothing can be said of the value
	Err    error // a reference in it could not be resolved
}

// Reference names a value that is kept elsewhere.
type Reference struct {
	Kind string // ssm, secretsmanager, kms, s3
	Name string
}

func (r Reference) String() string {
	if r.Kind == "kms" {
		return "{kms: ...}" // a ciphertext says nothing to anybody
	}
	return fmt.Sprintf("{%s: %s}", r.Kind, r.Name)
}

// reference answers the reference that a value is.
func reference(v document.Value) (Reference, bool) {
	if v.Kind != document.Map || len(v.Map) != 1 || v.Map[0].Value.Kind != document.Text {
		return Reference{}, false
	}
	switch kind := v.Map[0].Key; kind {
	case "ssm", "secretsmanager", "kms", "s3":
		return Reference{kind, v.Map[0].Value.Text}, true
	}
	return Reference{}, false
}

// Resolver looks a reference up.
type Resolver func(ctx context.Context, r Reference) (string, error)

// Prepare makes settings of what documents declare. Without a resolver references stay what they are.
func Prepare(ctx context.Context, list document.Settings, resolve Resolver) []Setting {
	known := map[Reference]func() (string, error){}
	var out []Setting
	for _, d := range list {
		s := Setting{Key: d.Key, At: d.At}
		s.Value = s.text(d.Value, func(r Reference) string {
			if resolve == nil {
				s.Opaque = true
				return ""
			}
			look, ok := known[r]
			if !ok {
				value, err := resolve(ctx, r)
				look = func() (string, error) { return value, err }
				known[r] = look
			}
			value, err := look()
			if err != nil && s.Err == nil {
				s.Err = fmt.Errorf("%s: %w", r, err)
			}
			s.Secret = true
			return value
		})
		out = append(out, s)
	}
	return out
}

// text writes a value as the file has it: bare, on one line, JSON without blanks.
func (s *Setting) text(v document.Value, resolve func(Reference) string) string {
	if r, ok := reference(v); ok {
		return strings.TrimSuffix(resolve(r), "\n")
	}
	k := table()[s.Key]
	switch v.Kind {
	case document.List:
		switch k.Type {
		case "csv", "int-pair":
			var parts []string
			for _, one := range v.List {
				parts = append(parts, s.text(one, resolve))
			}
			return strings.Join(parts, ",")
		}
		return s.json(v, false, resolve)
	case document.Map:
		return s.json(v, k.Type == "json-object-string", resolve)
	case document.Text:
		// A value that is JSON already may come folded over lines.
		if strings.HasPrefix(k.Type, "json") && strings.Contains(v.Text, "\n") {
			if first, rest, err := firstValue(v.Text); err == nil && strings.TrimSpace(rest) == "" {
				return first
			}
		}
		return strings.TrimSuffix(v.Text, "\n")
	}
	return v.Text
}

// json writes a value as JSON; with texts, numbers and booleans as texts: the agent takes no others in a map.
func (s *Setting) json(v document.Value, texts bool, resolve func(Reference) string) string {
	if r, ok := reference(v); ok {
		return quote(resolve(r))
	}
	switch v.Kind {
	case document.List:
		var parts []string
		for _, one := range v.List {
			parts = append(parts, s.json(one, texts, resolve))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case document.Map:
		var parts []string
		for _, one := range v.Map {
			parts = append(parts, quote(one.Key)+":"+s.json(one.Value, texts, resolve))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case document.Number, document.Bool:
		if !texts && json.Valid([]byte(v.Text)) {
			return v.Text
		}
	}
	return quote(v.Text)
}

func quote(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string always has a form
	return strings.TrimSuffix(b.String(), "\n")
}
