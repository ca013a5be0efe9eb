package document

import (
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// hostPorts puts together again what the scanner takes apart: within braces it sees a map in every a:1, so that
// {to: [a:24224]} would be a list of maps. In YAML a colon parts key and value only before a blank (or after a quoted key),
// and in a list an address is what was meant.
func hostPorts(tokens token.Tokens) token.Tokens {
	var open []token.Type // brackets and braces
	var out token.Tokens
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			open = append(open, t.Type)
		case token.SequenceEndType, token.MappingEndType:
			open = open[:max(0, len(open)-1)]
		}
		if len(open) > 0 && open[len(open)-1] == token.SequenceStartType && i+2 < len(tokens) {
			colon, value := tokens[i+1], tokens[i+2]
			if colon.Type == token.MappingValueType && isPlain(t) && isPlain(value) && follows(t, colon) && follows(colon, value) {
				t = token.String(t.Value+":"+value.Value, t.Origin+":"+value.Origin, t.Position)
				i += 2
			}
		}
		out.Add(t)
	}
	return out
}

// isPlain tells whether the token is a value without quotes.
func isPlain(t *token.Token) bool {
	switch t.Type {
	case token.StringType, token.IntegerType, token.FloatType, token.BoolType, token.NullType:
		return t.Indicator == token.NotIndicator
	}
	return false
}

// follows tells whether b stands directly behind a.
func follows(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}
