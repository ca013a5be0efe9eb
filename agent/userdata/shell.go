package userdata

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/fairlead/fairlead/internal/document"
)

// shell follows a script. It knows what echo, printf, cat, tee and redirections do, and what the script itself assigned;
// everything else it takes for a command whose doings and outcome it cannot know.
type shell struct {
	r     *reader
	src   text
	vars  map[string]expand.Variable
	funcs map[string]*syntax.Stmt
	files map[string]*output // other files that the script has written, by path: it may copy them to Target, or run them
	cwd   string
	out   *sink
	in    *sink // what a pipe or here-document feeds in; nil: nothing known
	depth int
	steps *int
	maybe int  // in how many branches we are that may not be taken
	async bool // in a command that the script does not wait for
	ended bool // exit
	once  bool // below cloud-init-per
}

// maxSteps bounds loops and functions; maxOutput what they write.
const (
	maxSteps  = 5_000
	maxOutput = 512 << 10
)

// sink is where output goes.
type sink struct {
	kind   sinkKind
	chunks []chunk // of a buffer
	size   int
	config *output // of Target
	other  *output // of another file
}

// output is what a script writes to Target.
type output struct {
	chunks []chunk
	size   int
}

func (o *output) add(c chunk) {
	if o.size += len(c.text); o.size <= maxOutput && len(o.chunks) < maxSteps {
		o.chunks = append(o.chunks, c)
	}
}

type sinkKind int

const (
	elsewhere sinkKind = iota // a terminal, a log
	buffer                    // a pipe, a command substitution
	target                    // Target
	another                   // a file of the script's own
)

// script reads a script of user data.
func (r *reader) script(t text, when stage) {
	r.shell(t, when, t.name)
}

// shell follows the script t and keeps what it writes to Target.
func (r *reader) shell(t text, when stage, name string) {
	first, rest, _ := strings.Cut(t.body, "\n")
	switch line, _, crlf := strings.Cut(rest, "\r\n"); {
	case strings.HasSuffix(first, "\r"):
		// cloud-init goes by the first line end of a script or boothook, and then makes LF of all.
		r.report(t.at(1, len(first)), document.Warning, "lines end in CRLF: cloud-init makes LF of them, nobody else does who runs this script", "save the script with LF line ends")
	case crlf:
		n := strings.Count(line, "\n")
		r.report(t.at(2+n, len(line)-strings.LastIndexByte(line, '\n')), document.Error, "some lines end in CRLF, the first does not: bash takes the carriage return for a part of the last word, such as a file's name; read without",
			"save the script with LF line ends")
	}
	if interpreter := first; strings.HasPrefix(interpreter, "#!") && !shellName.MatchString(interpreter) {
		r.report(t.at(1, 1), document.Warning, fmt.Sprintf("a script for %s: only shell scripts are read", clip(strings.TrimSpace(interpreter[2:]))), "")
		return
	}
	t.body = strings.ReplaceAll(t.body, "\r\n", "\n")
	var out output
	steps := 0
	s := &shell{r: r, src: t, vars: map[string]expand.Variable{}, funcs: map[string]*syntax.Stmt{}, files: map[string]*output{}, cwd: "/", out: &sink{}, steps: &steps}
	s.out.config = &out
	if when == script {
		maps.Copy(s.files, r.files)
	}
	s.program(t)
	r.writes = append(r.writes, write{when, name, out.chunks})
}

// asksAgent finds questions to the agent's introspection.
var asksAgent = regexp.MustCompile(`(localhost|127\.0\.0\.1):51678|systemctl\s+(-\S+\s+)*is-active\s+(-\S+\s+)*ecs\b`)

var shellName = regexp.MustCompile(`^#!\s*\S*/(env\s+(-\S+\s+)*)?(ba|da|k|z)?sh\b`)

// program follows the statements of a text, as far as it can be parsed; then, as bash never would, what comes after the line
// that cannot be: what stands there was meant as well.
func (s *shell) program(t text) {
	if s.depth++; s.depth > 2*maxDepth {
		return
	}
	defer func() { s.depth-- }()
	if deep(t.body) {
		s.r.report(t.at(1, 1), document.Error, "nested too deep, not read", "")
		return
	}
	outer := s.src
	defer func() { s.src = outer }()
	s.src = t
	for range 50 {
		stmts, fault := parse(t.body)
		if fault != nil {
			if body, ok := s.closeDocument(t, *fault); ok {
				t.body = body
				s.src = t
				continue
			}
		}
		broken := 0 // line of the fault, 0: none
		for _, st := range stmts {
			if line := s.runaway(st); line > 0 {
				broken = line
				break
			}
			s.stmt(st)
		}
		if broken == 0 && fault != nil {
			broken = s.fault(t, *fault)
		}
		if broken == 0 {
			return
		}
		offset := lineOffset(t.body, broken)
		next := lineOffset(t.body, broken+1)
		s.repair(t, broken, strings.TrimRight(t.body[offset:next], "\n"), fault)
		if next >= len(t.body) {
			return
		}
		t = t.part(next, len(t.body))
		s.src = t
	}
}

// parse answers the statements before the first fault.
func parse(body string) (stmts []*syntax.Stmt, fault *syntax.ParseError) {
	// A text that the parser cannot cope with is a text with a fault, behind what could be parsed.
	defer func() {
		if recover() != nil {
			fault = &syntax.ParseError{Pos: syntax.NewPos(0, 1, 1), Text: "cannot be parsed"}
			if len(stmts) > 0 {
				end := stmts[len(stmts)-1].End()
				fault.Pos = syntax.NewPos(end.Offset(), end.Line()+1, 1)
			}
		}
	}()
	p := syntax.NewParser(syntax.Variant(syntax.LangBash))
	var err error
	// The loop must not be left at a fault: the parser may go on, and panics where nobody listens.
	for st, e := range p.StmtsSeq(strings.NewReader(body)) {
		if e != nil || err != nil {
			err = errors.Join(err, e)
			continue
		}
		stmts = append(stmts, st)
	}
	var parseErr syntax.ParseError
	var langErr syntax.LangError
	switch {
	case errors.As(err, &parseErr):
		return stmts, &parseErr
	case errors.As(err, &langErr):
		return stmts, &syntax.ParseError{Pos: langErr.Pos, Text: langErr.Error()}
	}
	return stmts, nil
}

// deep tells whether the text nests deeper than any script does: the parser recurses.
func deep(body string) bool {
	open := 0
	for i := range len(body) {
		switch body[i] {
		case '(', '{', '`':
			open++
		case ')', '}':
			open = max(0, open-1)
		}
		if open > 1000 {
			return true
		}
	}
	for _, word := range []string{"if", "while", "until", "case", "!", "time", "for", "select", "coproc", "eval"} {
		if strings.Count(body, word) > 2000 {
			return true
		}
	}
	return strings.Count(body, "$(") > 2000 || strings.Count(body, "<(") > 2000
}

// fault reports what bash would stumble over and answers the line to go on behind.
func (s *shell) fault(t text, e syntax.ParseError) int {
	line := int(e.Pos.Line())
	return max(1, min(line, strings.Count(t.body, "\n")+1))
}

func lineOffset(body string, line int) int {
	offset := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(body[offset:], '\n')
		if i < 0 {
			return len(body)
		}
		offset += i + 1
	}
	return offset
}

func (s *shell) at(p syntax.Pos) document.Place { return s.src.at(int(p.Line()), int(p.Col())) }

// outcome is what is known of how a command ends.
type outcome int

const (
	unsure outcome = iota
	succeeds
	fails
)

func (s *shell) stmts(list []*syntax.Stmt) outcome {
	last := succeeds
	for _, st := range list {
		if s.ended {
			break
		}
		last = s.stmt(st)
	}
	return last
}

func (s *shell) stmt(st *syntax.Stmt) outcome {
	if *s.steps++; *s.steps > maxSteps || s.ended || s.depth > 60 {
		if *s.steps > maxSteps && !s.r.tooMuch {
			s.r.tooMuch = true
			s.r.report(s.at(st.Pos()), document.Warning, "the script does too much to be followed to its end", "")
		}
		return unsure
	}
	s.depth++
	defer func() { s.depth-- }()
	if st.Background || st.Coprocess {
		sub := s.sub()
		sub.async = true
		one := *st
		one.Background, one.Coprocess = false, false
		sub.stmt(&one)
		return succeeds
	}
	out, in := s.out, s.in
	if keep := s.redirect(st); !keep {
		defer func() { s.out, s.in = out, in }()
	}
	got := s.command(st)
	if st.Negated {
		switch got {
		case succeeds:
			return fails
		case fails:
			return succeeds
		}
	}
	return got
}

// sub is a subshell: what it assigns is lost, what it writes is not.
func (s *shell) sub() *shell {
	one := *s
	one.vars, one.funcs = maps.Clone(s.vars), maps.Clone(s.funcs)
	return &one
}

// child is another shell: it sees what is exported. What else is called so there is not known.
func (s *shell) child() *shell {
	one := s.sub()
	maps.DeleteFunc(one.vars, func(_ string, v expand.Variable) bool { return !v.Exported })
	one.funcs = map[string]*syntax.Stmt{}
	return one
}

func (s *shell) export(name string) {
	if v, ok := s.vars[name]; ok {
		v.Exported = true
		s.vars[name] = v
	}
}

func (s *shell) command(st *syntax.Stmt) outcome {
	switch c := st.Cmd.(type) {
	case nil:
		return succeeds
	case *syntax.CallExpr:
		return s.call(st, c)
	case *syntax.Block:
		return s.stmts(c.Stmts)
	case *syntax.Subshell:
		sub := s.sub()
		return sub.stmts(c.Stmts)
	case *syntax.BinaryCmd:
		return s.binary(c)
	case *syntax.IfClause:
		return s.conditional(c)
	case *syntax.ForClause:
		return s.loop(c)
	case *syntax.WhileClause:
		if from, to := int(c.Pos().Offset()), int(c.End().Offset()); !s.async && from < to && to <= len(s.src.body) && asksAgent.MatchString(s.src.body[from:to]) {
			s.r.report(s.at(c.Pos()), document.Error, "deadlock: this loop waits for the ECS agent, which starts only after cloud-final.service, which waits for this script",
				"wait in the background (a & behind the loop), or in a unit of its own after ecs.service")
		}
		s.perhaps(func() { s.stmts(c.Cond); s.stmts(c.Do) })
	case *syntax.TestClause:
		return s.judge(c.X)
	case *syntax.CaseClause:
		if item, ok := s.choose(c); ok {
			if item != nil {
				return s.stmts(item.Stmts)
			}
			return succeeds
		}
		s.perhaps(func() {
			for _, item := range c.Items {
				s.stmts(item.Stmts)
			}
		})
	case *syntax.FuncDecl:
		if c.Name != nil && c.Body != nil { // the parser also takes functions without a name, which bash does not
			s.funcs[c.Name.Value] = c.Body
			return succeeds
		}
	case *syntax.DeclClause:
		for _, a := range c.Args {
			if a.Name != nil {
				s.assign(a)
				if c.Variant != nil && c.Variant.Value == "export" {
					s.export(a.Name.Value)
				}
			}
		}
		return succeeds
	case *syntax.TimeClause:
		if c.Stmt != nil {
			return s.stmt(c.Stmt)
		}
	case *syntax.CoprocClause:
		s.perhaps(func() { s.stmt(c.Stmt) })
	case *syntax.LetClause, *syntax.ArithmCmd:
		s.forget(st)
	}
	return unsure
}

// perhaps follows what may or may not be done: it writes nothing for sure, and what it assigns is not known afterwards.
func (s *shell) perhaps(do func()) {
	before := maps.Clone(s.vars)
	ended, cwd := s.ended, s.cwd
	s.maybe++
	do()
	s.maybe--
	s.ended, s.cwd = ended, cwd
	for name, v := range s.vars {
		if old, ok := before[name]; !ok || old.String() != v.String() {
			s.vars[name] = unknownVar(name)
		}
	}
}

func unknownVar(name string) expand.Variable {
	return expand.Variable{Set: true, Kind: expand.String, Str: marker("$" + name)}
}

func (s *shell) binary(c *syntax.BinaryCmd) outcome {
	switch c.Op {
	case syntax.AndStmt, syntax.OrStmt:
		wanted := succeeds
		if c.Op == syntax.OrStmt {
			wanted = fails
		}
		left := s.stmt(c.X)
		switch {
		case s.ended:
			return left
		case left == wanted:
			return s.stmt(c.Y)
		case left != unsure:
			return left
		}
		s.perhaps(func() { s.stmt(c.Y) })
		return unsure
	}
	// A pipe.
	pipe := &sink{kind: buffer, config: s.out.config}
	left := s.sub()
	left.out = pipe
	left.stmt(c.X)
	right := s.sub()
	right.in = pipe
	return right.stmt(c.Y)
}

func (s *shell) conditional(c *syntax.IfClause) outcome {
	if len(c.Cond) == 0 { // else
		return s.stmts(c.Then)
	}
	switch s.stmts(c.Cond) {
	case succeeds:
		return s.stmts(c.Then)
	case fails:
		if c.Else != nil {
			return s.conditional(c.Else)
		}
		return succeeds
	}
	s.perhaps(func() { s.stmts(c.Then) })
	if c.Else != nil {
		s.perhaps(func() { s.conditional(c.Else) })
	}
	return unsure
}

func (s *shell) loop(c *syntax.ForClause) outcome {
	iter, ok := c.Loop.(*syntax.WordIter)
	if ok && !c.Select && iter.InPos.IsValid() {
		items, err := s.fields(iter.Items)
		known := err == nil && len(items) <= 100
		for _, item := range items {
			known = known && !isUnknown(item)
		}
		if known && !leavesLoop(c.Do) {
			for _, item := range items {
				s.vars[iter.Name.Value] = expand.Variable{Set: true, Kind: expand.String, Str: item}
				s.stmts(c.Do)
			}
			return unsure
		}
	}
	if ok {
		s.vars[iter.Name.Value] = unknownVar(iter.Name.Value)
	}
	s.perhaps(func() { s.stmts(c.Do) })
	return unsure
}

// leavesLoop tells whether break, continue or return stand in the statements.
func leavesLoop(list []*syntax.Stmt) bool {
	found := false
	for _, st := range list {
		syntax.Walk(st, func(n syntax.Node) bool {
			if c, ok := n.(*syntax.CallExpr); ok && len(c.Args) > 0 {
				switch c.Args[0].Lit() {
				case "break", "continue", "return":
					found = true
				}
			}
			return true
		})
	}
	return found
}

// forget makes all variables unknown that are named below the node: arithmetic may change them.
func (s *shell) forget(n syntax.Node) {
	syntax.Walk(n, func(n syntax.Node) bool {
		if l, ok := n.(*syntax.Lit); ok && keyName.MatchString(l.Value) {
			s.vars[l.Value] = unknownVar(l.Value)
		}
		return true
	})
}

// abs is the path as the script's working directory has it.
func (s *shell) abs(name string) string {
	if !path.IsAbs(name) {
		name = path.Join(s.cwd, name)
	}
	return path.Clean(name)
}

// boothook reads a boothook. cloud-init takes its first line away and starts what is left as a program.
func (r *reader) boothook(t text) {
	head, rest, _ := strings.Cut(t.body, "\n")
	if strings.HasPrefix(head, "#!") {
		rest = t.body // its type was said in the header of its part
	}
	if !strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n"), "#!") {
		r.report(t.at(1, 1), document.Warning, "no #! line in this boothook: cloud-init cannot start it (Exec format error)", "let its next line be: #!/bin/bash")
	}
	r.script(t, boothook)
}
