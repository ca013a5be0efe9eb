package ecsconfig

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/loose"
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

// reference answers the reference that a value is.
func reference(v document.Value) (document.Elsewhere, bool) {
	if v.Kind != document.Map || len(v.Map) != 1 || v.Map[0].Value.Kind != document.Text {
		return document.Elsewhere{}, false
	}
	switch kind := v.Map[0].Key; kind {
	case "ssm", "secretsmanager", "kms", "s3":
		return document.Elsewhere{Kind: kind, Name: v.Map[0].Value.Text}, true
	}
	return document.Elsewhere{}, false
}

// Prepare makes settings of what documents declare. Values that name something elsewhere are asked of lookup; without it they
// stay what they are.
func Prepare(list document.Settings, lookup func(document.Elsewhere) (string, error)) []Setting {
	var out []Setting
	for _, d := range list {
		s := Setting{Key: d.Key, At: d.At}
		s.Value = s.text(d.Value, func(r document.Elsewhere) string {
			if lookup == nil {
				s.Opaque = true
				return ""
			}
			value, err := lookup(r)
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
func (s *Setting) text(v document.Value, resolve func(document.Elsewhere) string) string {
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
func (s *Setting) json(v document.Value, texts bool, resolve func(document.Elsewhere) string) string {
	if r, ok := reference(v); ok {
		return loose.Quote(resolve(r))
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
			parts = append(parts, loose.Quote(one.Key)+":"+s.json(one.Value, texts, resolve))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case document.Number, document.Bool:
		if !texts && json.Valid([]byte(v.Text)) {
			return v.Text
		}
	}
	return loose.Quote(v.Text)
}
