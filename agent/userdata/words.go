package userdata

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// scope answers the shell's variables to package expand.
type scope struct {
	s       *shell
	missing map[string]bool // names that a default stands for where they are not set: ${X:-y}
}

// Get implements expand.Environ.
func (e scope) Get(name string) expand.Variable {
	if v, ok := e.s.vars[name]; ok {
		return v
	}
	if name == "IFS" || e.missing[name] {
		return expand.Variable{}
	}
	return unknownVar(name)
}

// Each implements expand.Environ.
func (e scope) Each(func(string, expand.Variable) bool) {}

// Set implements expand.WriteEnviron: ${X:=y}.
func (e scope) Set(name string, v expand.Variable) error {
	e.s.vars[name] = v
	return nil
}

// config is how the words are expanded: by what the script says, nothing of this host.
func (s *shell) config(words ...*syntax.Word) *expand.Config {
	missing := map[string]bool{}
	for _, w := range words {
		syntax.Walk(w, func(n syntax.Node) bool {
			if p, ok := n.(*syntax.ParamExp); ok && p.Param != nil && p.Exp != nil {
				if _, set := s.vars[p.Param.Value]; !set && !inherited[p.Param.Value] {
					missing[p.Param.Value] = true
				}
			}
			return true
		})
	}
	return &expand.Config{Env: scope{s, missing}, CmdSubst: s.substitute, ProcSubst: func(*syntax.ProcSubst) (string, error) { return marker("<(...)"), nil }}
}

// inherited are variables that cloud-init's environment may have.
var inherited = map[string]bool{"HOME": true, "PATH": true, "USER": true, "SHELL": true, "HOSTNAME": true, "LANG": true, "PWD": true, "INSTANCE_ID": true, "TERM": true, "LOGNAME": true}

// opaque tells whether the word computes with something that is not known: the marker must not be computed with.
func (s *shell) opaque(w *syntax.Word) bool {
	found := false
	if len(w.Parts) > 0 {
		// A tilde is also a home behind the = of a word that looks like an assignment.
		l, ok := w.Parts[0].(*syntax.Lit)
		found = ok && homeInValue.MatchString(l.Value)
	}
	braces := 0
	for _, part := range w.Parts {
		if l, ok := part.(*syntax.Lit); ok {
			braces += strings.Count(l.Value, "{") // each may double the number of words
		}
	}
	found = found || braces > 8
	for i, part := range w.Parts[:max(0, len(w.Parts)-1)] {
		// Braces are expanded before variables: $V{a,b} is $Va $Vb.
		p, ok := part.(*syntax.ParamExp)
		l, next := w.Parts[i+1].(*syntax.Lit)
		found = found || ok && next && p.Short && strings.HasPrefix(l.Value, "{")
	}
	syntax.Walk(w, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CmdSubst:
			return false // judged when it is followed
		case *syntax.ArithmExp:
			syntax.Walk(n, func(n syntax.Node) bool {
				switch n := n.(type) {
				case *syntax.Lit:
					if keyName.MatchString(n.Value) && s.dark(n.Value) {
						found = true
					}
				case *syntax.ParamExp:
					found = found || n.Param != nil && s.dark(n.Param.Value)
				case *syntax.CmdSubst:
					found = true
				}
				return true
			})
		case *syntax.ParamExp:
			if n.Param == nil {
				found = true
				return false
			}
			computes := n.Excl || n.Length || n.Width || n.Slice != nil || n.Repl != nil || n.Names != 0 || n.Index != nil || n.Exp != nil
			_, set := s.vars[n.Param.Value]
			if computes && (set || n.Exp == nil || inherited[n.Param.Value]) && s.dark(n.Param.Value) || n.Excl || n.Names != 0 {
				found = true
			}
			if n.Exp != nil && (n.Exp.Op == syntax.ErrorUnset || n.Exp.Op == syntax.ErrorUnsetOrNull) && !set {
				found = true
			}
		case *syntax.ExtGlob:
			found = true
		}
		return !found
	})
	return found
}

var homeInValue = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=(.*:)?~`)

// dark tells whether a variable has no known value.
func (s *shell) dark(name string) bool {
	v, ok := s.vars[name]
	if !ok {
		return true
	}
	if isUnknown(v.Str) {
		return true
	}
	for _, one := range v.List {
		if isUnknown(one) {
			return true
		}
	}
	return false
}

// unknownWord stands for a word that cannot be expanded here.
func (s *shell) unknownWord(w *syntax.Word) string {
	on := ""
	syntax.Walk(w, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.ParamExp:
			if on == "" && n.Param != nil {
				on = "$" + n.Param.Value
			}
		case *syntax.CmdSubst:
			if on == "" {
				on = commandNamed(n)
			}
		}
		return on == ""
	})
	if on == "" {
		on = "a computed value"
	}
	key := ""
	if from, to := int(w.Pos().Offset()), int(w.End().Offset()); from < to && to <= len(s.src.body) {
		if m := setting.FindStringSubmatch(s.src.body[from:to]); m != nil {
			key = m[1]
		}
	}
	return key + marker(on)
}

// setting is the beginning of a word that sets something.
var setting = regexp.MustCompile(`^"?([A-Za-z_][A-Za-z0-9_]*=)`)

// commandNamed stands for a command substitution in messages. Its arguments may hold what is not for everyone's eyes.
func commandNamed(c *syntax.CmdSubst) string {
	name := ""
	if len(c.Stmts) > 0 {
		if call, ok := c.Stmts[0].Cmd.(*syntax.CallExpr); ok && len(call.Args) > 0 {
			name = call.Args[0].Lit()
		}
	}
	return "$(" + name + "...)"
}

// safely takes a word that the expander cannot cope with for one that is not known.
func safely[T any](expand func() (T, error)) (got T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("expand: %v", p)
		}
	}()
	return expand()
}

// fields expands words to fields, as in the arguments of a command.
func (s *shell) fields(words []*syntax.Word) ([]string, error) {
	var out []string
	for _, w := range words {
		if s.opaque(w) {
			out = append(out, s.unknownWord(w))
			continue
		}
		got, err := safely(func() ([]string, error) { return expand.Fields(s.config(w), w) })
		if err != nil {
			got = []string{s.unknownWord(w)}
		}
		out = append(out, got...)
	}
	return out, nil
}

// literal expands a word to one text, as in an assignment.
func (s *shell) literal(w *syntax.Word) string {
	if w == nil {
		return ""
	}
	if s.opaque(w) {
		return s.unknownWord(w)
	}
	got, err := safely(func() (string, error) { return expand.Literal(s.config(w), unescaped(w)) })
	if err != nil {
		return s.unknownWord(w)
	}
	return got
}

// unescaped is the word with each escaped character as a quoted one: expand.Literal leaves backslashes in place.
func unescaped(w *syntax.Word) *syntax.Word {
	out := &syntax.Word{}
	for _, part := range w.Parts {
		l, ok := part.(*syntax.Lit)
		if !ok || !strings.Contains(l.Value, `\`) {
			out.Parts = append(out.Parts, part)
			continue
		}
		rest := l.Value
		for rest != "" {
			i := strings.IndexByte(rest, '\\')
			if i < 0 || i+1 == len(rest) {
				i = len(rest)
			}
			if i > 0 {
				out.Parts = append(out.Parts, &syntax.Lit{Value: rest[:i]})
			}
			if rest = rest[i:]; rest != "" {
				_, n := utf8.DecodeRuneInString(rest[1:])
				out.Parts = append(out.Parts, &syntax.SglQuoted{Value: rest[1 : 1+n]})
				rest = rest[1+n:]
			}
		}
	}
	return out
}

// word expands the name of a file.
func (s *shell) word(w *syntax.Word) string {
	got, _ := s.fields([]*syntax.Word{w})
	if len(got) != 1 {
		return marker("the name of the file")
	}
	return got[0]
}

// hereDocument expands the body of a here-document, unless its delimiter is quoted.
func (s *shell) hereDocument(rd *syntax.Redirect) string {
	quoted := false
	syntax.Walk(rd.Word, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.SglQuoted, *syntax.DblQuoted:
			quoted = true
		case *syntax.Lit:
			quoted = quoted || strings.Contains(n.Value, `\`)
		}
		return true
	})
	if quoted {
		var b strings.Builder
		for _, part := range rd.Hdoc.Parts {
			if l, ok := part.(*syntax.Lit); ok {
				b.WriteString(l.Value)
			}
		}
		return dedent(b.String(), rd.Op)
	}
	if !s.opaque(rd.Hdoc) {
		if got, err := safely(func() (string, error) { return expand.Document(s.config(rd.Hdoc), rd.Hdoc) }); err == nil {
			return dedent(got, rd.Op)
		}
	}
	// Part by part, so that the lines that are known are.
	var b strings.Builder
	for _, part := range rd.Hdoc.Parts {
		one := &syntax.Word{Parts: []syntax.WordPart{part}}
		got, err := safely(func() (string, error) { return expand.Document(s.config(one), one) })
		if err != nil || s.opaque(one) {
			got = s.unknownWord(one)
		}
		b.WriteString(got)
	}
	return dedent(b.String(), rd.Op)
}

// dedent strips the tabs of <<-.
func dedent(body string, op syntax.RedirOperator) string {
	if op != syntax.DashHdoc {
		return body
	}
	var b strings.Builder
	for line := range strings.Lines(body) {
		b.WriteString(strings.TrimLeft(line, "\t"))
	}
	return b.String()
}

// substitute follows $(...).
func (s *shell) substitute(w io.Writer, c *syntax.CmdSubst) error {
	sub := s.sub()
	sub.out = &sink{kind: buffer, config: s.out.config}
	sub.in = nil
	if *s.steps++; *s.steps > maxSteps || s.depth > 50 {
		_, err := io.WriteString(w, marker(commandNamed(c)))
		return err
	}
	sub.depth++
	got := sub.stmts(c.Stmts)
	var b strings.Builder
	for _, one := range sub.out.chunks {
		b.WriteString(one.text)
	}
	text := b.String()
	if isUnknown(text) || got == unsure || b.Len() > maxOutput {
		text = marker(commandNamed(c))
	}
	_, err := io.WriteString(w, text)
	return err
}

// assign follows NAME=value.
func (s *shell) assign(a *syntax.Assign) {
	name := a.Name.Value
	switch {
	case a.Index != nil:
		s.vars[name] = unknownVar(name)
	case a.Array != nil:
		v := expand.Variable{Set: true, Kind: expand.Indexed}
		for _, e := range a.Array.Elems {
			if e.Index != nil || e.Value == nil {
				s.vars[name] = unknownVar(name)
				return
			}
			got, _ := s.fields([]*syntax.Word{e.Value})
			v.List = append(v.List, got...)
		}
		s.vars[name] = v
	case a.Naked:
		if _, ok := s.vars[name]; !ok {
			s.vars[name] = expand.Variable{Kind: expand.String}
		}
	default:
		value := s.literal(a.Value)
		if a.Append {
			old, ok := s.vars[name]
			if !ok && !inherited[name] {
				old = expand.Variable{}
			} else if !ok {
				old = unknownVar(name)
			}
			value = old.String() + value
		}
		if len(value) > maxOutput {
			value = marker("$" + name)
		}
		s.vars[name] = expand.Variable{Set: true, Kind: expand.String, Str: value, Exported: s.vars[name].Exported}
	}
}
