package document

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// Reader decodes documents into one struct, in the order it is given them.
type Reader struct {
	// Lookup answers what AWS keeps. Where it answers a value and an error, the value is used and the error is a warning. Without it, a
	// secret that names such a place is an error.
	Lookup func(Elsewhere) (string, error)

	target   reflect.Value
	before   reflect.Value    // the defaults
	set      map[string]place // where each key that is set was set last
	sources  []string         // files and variables in the order they were read
	findings []Finding
}

// NewReader reads into target, a pointer to a struct that holds the defaults.
func NewReader(target any) *Reader {
	v := reflect.ValueOf(target).Elem()
	before := reflect.New(v.Type()).Elem()
	before.Set(v) // lists are replaced, never changed, so what it shares with the target stays as it is
	return &Reader{target: v, before: before, set: map[string]place{}}
}

// Findings are all that was found wrong so far, in the order of the documents and their lines.
func (r *Reader) Findings() []Finding {
	list := slices.Clone(r.findings)
	slices.SortStableFunc(list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(slices.Index(r.sources, a.File), slices.Index(r.sources, b.File)),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return list
}

// Add reports a finding about a whole file.
func (r *Reader) Add(file string, s Severity, text, fix string) {
	r.report(place{file: file}, s, text, fix)
}

func (r *Reader) report(at place, s Severity, text, fix string) {
	if !slices.Contains(r.sources, at.file) {
		r.sources = append(r.sources, at.file)
	}
	// An anchor that is used in two places is read twice.
	if f := at.finding(s, text, fix); !slices.Contains(r.findings, f) {
		r.findings = append(r.findings, f)
	}
}

// Document reads one YAML text. An empty one is fine: it sets nothing.
func (r *Reader) Document(file string, text []byte) { r.Under("", file, text) }

// Under reads the part of a YAML text that stands under one key of it; without a key all of it. A text without the key
// sets nothing. It answers whether there was something to read.
func (r *Reader) Under(key, file string, text []byte) bool {
	r.sources = append(r.sources, file)
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if at, ok := firstBad(text); !ok {
		at.file = file
		r.report(at, Error, "not valid UTF-8", "save the file as UTF-8")
		return false
	}
	tree, err := parse(text)
	if err != nil {
		at := place{file: file}
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			p := syntax.GetToken().Position
			at.line, at.column = p.Line, p.Column
		}
		r.report(at, Error, message(err), fixSyntax(message(err)))
		return false
	}
	d := decoder{Reader: r, file: file, anchors: map[string]ast.Node{}, inside: map[string]bool{}}
	var body ast.Node
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			r.report(d.place(doc.Body), Error, "a second document in one file", "write each into a file of its own below conf.d, or remove the ---")
			return false
		}
		body = doc.Body
	}
	if body == nil {
		return false
	}
	ast.Walk(&d, body)
	if key != "" {
		if body = under(key, body); body == nil {
			return false
		}
	}
	d.value("", d.place(body), body, r.target)
	return true
}

// under answers the value of a key of the map n, nil if there is none.
func under(key string, n ast.Node) ast.Node {
	m, ok := n.(ast.MapNode)
	if !ok {
		return nil
	}
	for it := m.MapRange(); it.Next(); {
		if keyText(it.Key()) == key {
			return it.Value()
		}
	}
	return nil
}

// parse keeps a fault of the parser from being ours: a text it cannot cope with is a text with an error.
func parse(text []byte) (f *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("not a YAML document: %v", p)
		}
	}()
	// Repeated keys are found while decoding, so that they are all named and do not hide what else is wrong.
	return parser.Parse(hostPorts(lexer.Tokenize(string(text))), 0, parser.AllowDuplicateMapKey())
}

func message(err error) string {
	var e yaml.Error
	if errors.As(err, &e) {
		return e.GetMessage()
	}
	return err.Error()
}

func fixSyntax(message string) string {
	if strings.Contains(message, "'\t'") {
		return "indent with blanks, not with tabs"
	}
	return ""
}

func firstBad(text []byte) (place, bool) {
	at := place{line: 1, column: 1}
	for len(text) > 0 {
		c, n := utf8.DecodeRune(text)
		if c == utf8.RuneError && n == 1 {
			return at, false
		}
		at.column++
		if c == '\n' {
			at.line, at.column = at.line+1, 1
		}
		text = text[n:]
	}
	return at, true
}
