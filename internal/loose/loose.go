// Package loose reads JSON lists and objects whose quotes a shell has eaten, doubled, escaped or an editor has curled, where
// only one thing can have been meant.
package loose

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

var curled = strings.NewReplacer("“", `"`, "”", `"`, "„", `"`, "‟", `"`, "«", `"`, "»", `"`, "″", `"`, "‘", "'", "’", "'", "‚", "'", "‛", "'")

// Straight replaces the quotes of word processors by those of programs.
func Straight(text string) string { return curled.Replace(text) }

// Unquote removes the quotes that stand round the whole text, however many pairs.
func Unquote(text string) string {
	for {
		t := strings.TrimSpace(text)
		t = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(t, `\`), "\n"))
		if len(t) < 2 || t[0] != t[len(t)-1] || t[0] != '"' && t[0] != '\'' {
			return t
		}
		t = t[1 : len(t)-1]
		text = strings.TrimSuffix(t, `\`) // \"...\"
	}
}

var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// List reads a list of texts, or of numbers, and answers it as JSON.
func List(text string, numbers bool) (string, bool) {
	text = Unquote(Straight(text))
	if fixed, ok := compact(text); ok && strings.HasPrefix(fixed, "[") {
		return fixed, true
	}
	inner, ok := within(text, "[", "]")
	if !ok {
		return "", false
	}
	out := []string{}
	for one := range strings.SplitSeq(inner, ",") {
		one, ok := bare(one)
		if !ok || numbers && !number.MatchString(one) {
			return "", false
		}
		if !numbers {
			one = Quote(one)
		}
		out = append(out, one)
	}
	return "[" + strings.Join(out, ",") + "]", true
}

// Object reads a map and answers it as JSON.
func Object(text string) (string, bool) {
	text = Unquote(Straight(text))
	// Maps in maps, as registries' credentials are, are not read without their quotes.
	for _, one := range []string{text, strings.ReplaceAll(text, `\"`, `"`)} {
		if fixed, ok := compact(one); ok && strings.HasPrefix(fixed, "{") {
			return fixed, true
		}
	}
	inner, ok := within(text, "{", "}")
	if !ok {
		return "", false
	}
	var out []string
	for one := range strings.SplitSeq(inner, ",") {
		key, value, found := strings.Cut(one, ":")
		key, ok := bare(key)
		if !found || !ok {
			return "", false
		}
		if value, ok = bare(value); !ok {
			return "", false
		}
		out = append(out, Quote(key)+":"+Quote(value))
	}
	return "{" + strings.Join(out, ",") + "}", true
}

func within(text, open, shut string) (string, bool) {
	inner, ok := strings.CutPrefix(text, open)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(inner, shut)
}

// bare is an element without its blanks and what is left of its quotes.
func bare(text string) (string, bool) {
	text = strings.Trim(text, " \t\"'\\`")
	return text, text != "" && !strings.ContainsAny(text, "\"'\\`[]{}\n\r")
}

func compact(text string) (string, bool) {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		return "", false
	}
	return b.String(), true
}

// Quote is text as JSON, without the escapes that only HTML needs.
func Quote(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string always has a form
	return strings.TrimSuffix(b.String(), "\n")
}
