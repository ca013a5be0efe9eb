// Package glob matches names, images and tags against a pattern that stands for all of them. Other than in path.Match a star goes over
// slashes too: registry.example.com/* is every image of a registry.
package glob

import (
	"errors"
	"regexp"
	"strings"
)

// Pattern is a compiled pattern. The zero value matches the empty text alone.
type Pattern struct {
	text string
	re   *regexp.Regexp // nil: the text itself, no more and no less
}

// ErrPattern says what a pattern is made of.
var ErrPattern = errors.New("use * for any text, ? for one character, [a-z] or [!a-z] for one of a set, \\ before one of these that is meant itself")

// Compile reads a pattern.
func Compile(pattern string) (Pattern, error) {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return Pattern{text: pattern}, nil
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	runes := []rune(pattern)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; r {
		case '*':
			b.WriteString(`.*`)
		case '?':
			b.WriteByte('.')
		case '\\':
			if i++; i == len(runes) {
				return Pattern{}, ErrPattern
			}
			b.WriteString(regexp.QuoteMeta(string(runes[i])))
		case '[':
			end, ok := class(&b, runes[i+1:])
			if !ok {
				return Pattern{}, ErrPattern
			}
			i += end + 1
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	b.WriteString(`\z`)
	re, err := regexp.Compile(b.String())
	if err != nil {
		return Pattern{}, ErrPattern // as [z-a]
	}
	return Pattern{text: pattern, re: re}, nil
}

// class writes what stands between brackets and answers the place of the closing one.
func class(b *strings.Builder, runes []rune) (end int, ok bool) {
	b.WriteByte('[')
	i := 0
	if len(runes) > 0 && (runes[0] == '!' || runes[0] == '^') {
		b.WriteByte('^')
		i++
	}
	for first := i; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == ']' && i > first:
			b.WriteByte(']')
			return i, true
		case r == ']':
			return 0, false
		case r == '\\':
			if i++; i == len(runes) {
				return 0, false
			}
			b.WriteString(escape(runes[i]))
		case r == '-' && i > first && i+1 < len(runes) && runes[i+1] != ']':
			b.WriteByte('-')
		default:
			b.WriteString(escape(r))
		}
	}
	return 0, false
}

// escape is a character as it stands for itself between brackets.
func escape(r rune) string {
	if strings.ContainsRune(`\[]^-&~`, r) {
		return `\` + string(r)
	}
	return string(r)
}

// Match says whether the whole text fits.
func (p Pattern) Match(text string) bool {
	if p.re == nil {
		return text == p.text
	}
	return p.re.MatchString(text)
}

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }
