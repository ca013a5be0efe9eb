package userdata

import (
	"fmt"
	"html"
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/loose"
)

// writes is a line that was to write one setting: echo KEY=value >> file, or with tee.
var (
	echoes = regexp.MustCompile(`^(\s*)((?:sudo\s+)?(?:echo|printf)(?:\s+-[neE]+)*)\s+(.*?)\s*(>\s*>|>\||>)\s*["'“”]*([^\s"'“”;|&]*ecs\.config)["'“”]*\s*(?:[;&|#].*)?$`)
	tees   = regexp.MustCompile(`^(\s*)((?:sudo\s+)?(?:echo|printf)(?:\s+-[neE]+)*)\s+(.*?)\s*\|\s*((?:sudo\s+)?tee)((?:\s+-\w+)*)\s+["']*([^\s"';|&]*ecs\.config)["']*\s*(?:>.*)?$`)
	sets   = regexp.MustCompile(`^\\?["']*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$`)
)

// intent is what a line that the shell cannot read was to write.
type intent struct {
	key, value string
	appends    bool
	file       string
	corrected  string // the line as it should stand
}

// meant reads a line that is no good as shell.
func meant(line string) (intent, bool) {
	var in intent
	if strings.Contains(line, "&gt;") { // copied out of a page's source
		line = html.UnescapeString(line)
	}
	straight := loose.Straight(line)
	var lead, command, arg, tail string
	if m := echoes.FindStringSubmatch(straight); m != nil {
		to := strings.Join(strings.Fields(m[4]), "")
		lead, command, arg, in.appends, in.file = m[1], m[2], m[3], to == ">>", m[5]
		tail = " " + to + " " + in.file
	} else if m := tees.FindStringSubmatch(straight); m != nil {
		lead, command, arg, in.file = m[1], m[2], m[3], m[6]
		in.appends = strings.Contains(m[5], "a")
		tail = " | " + m[4] + m[5] + " " + in.file
	} else {
		return in, false
	}
	m := sets.FindStringSubmatch(strings.TrimSpace(arg))
	if m == nil || strings.ContainsAny(m[2], "$`") {
		return in, false
	}
	in.key = m[1]
	value := strings.TrimSpace(m[2])
	switch {
	case strings.Contains(value, "["):
		v, ok := loose.List(strings.Trim(value, "\"'\\ "), false)
		if n, isNumbers := loose.List(strings.Trim(value, "\"'\\ "), true); isNumbers {
			v, ok = n, true
		}
		if !ok {
			return in, false
		}
		in.value = v
	case strings.Contains(value, "{"):
		v, ok := loose.Object(strings.Trim(value, "\"'\\ "))
		if !ok {
			return in, false
		}
		in.value = v
	default:
		in.value = strings.Trim(value, "\"'\\ ")
		if strings.ContainsAny(in.value, "\"'\\") {
			return in, false
		}
	}
	in.corrected = lead + command + " '" + in.key + "=" + in.value + "'" + tail
	return in, !strings.Contains(in.value, "'")
}

// repair reports a line that bash cannot read, and does what it was to do, where that is plain.
func (s *shell) repair(t text, line int, raw string, fault *syntax.ParseError) {
	column, what := 1, "a quote is opened and not closed in this line"
	if fault != nil && int(fault.Pos.Line()) == line {
		column, what = int(fault.Pos.Col()), fault.Text
	} else if i := strings.IndexAny(raw, "\"'"); i >= 0 {
		column = i + 1
	}
	at := t.at(line, column)
	in, ok := meant(raw)
	if !ok {
		text := "shell syntax error: " + what + ": bash stops here and runs nothing of what follows"
		s.r.report(at, document.Error, text, "correct the line; fairlead goes on reading after it")
		return
	}
	corrected := in.corrected
	if Secret(in.key) || strings.Contains(in.value, "://") {
		corrected = "echo '" + in.key + "=...' >> " + in.file
	}
	s.r.report(at, document.Error, fmt.Sprintf("shell syntax error: %s: bash runs neither this line nor what follows, so %s is not set", what, in.key), "write: "+strings.TrimSpace(corrected))
	if s.abs(in.file) != Target && in.file != "ecs.config" {
		return
	}
	if !in.appends {
		s.out.config.add(chunk{truncate: true, at: at})
	}
	s.out.config.add(chunk{text: in.key + "=" + in.value + "\n", at: at})
}

// closeDocument ends a here-document that has no end. bash takes everything to the end of the script for it; where its delimiter stands
// in a line and is only not seen for the blanks round it, that is where it was to end.
func (s *shell) closeDocument(t text, fault syntax.ParseError) (body string, ok bool) {
	delimiter, ok := strings.CutPrefix(fault.Text, "unclosed here-document ")
	if delimiter = strings.Trim(delimiter, "`\""); !ok || delimiter == "" {
		return "", false
	}
	line := int(fault.Pos.Line()) + 1
	for pos := lineOffset(t.body, line); pos < len(t.body); line++ {
		end := lineOffset(t.body[pos:], 2) + pos
		if raw := strings.TrimSuffix(t.body[pos:end], "\n"); strings.TrimSpace(raw) == delimiter {
			s.r.report(t.at(line, 1), document.Error, fmt.Sprintf("blanks round %s: bash does not take it for the end of the here-document, and writes the rest of the script into the file", delimiter),
				"write "+delimiter+" alone in the line")
			return t.body[:pos] + delimiter + t.body[pos+len(raw):], true
		}
		pos = end
	}
	s.r.report(s.at(fault.Pos), document.Warning, fmt.Sprintf("the here-document has no %s at its end: bash takes all that follows for it", delimiter), "end it with "+delimiter+" alone in a line")
	return strings.TrimSuffix(t.body, "\n") + "\n" + delimiter + "\n", true
}

// Secret tells whether the value of a key by such a name is not for anyone's eyes.
func Secret(key string) bool { return secretName.MatchString(key) }

var secretName = regexp.MustCompile(`(?i)(auth_data|password|passwd|secret|token|access_key|credential|private|api_?key|_proxy$|log_opts)`)

// runsOn tells text within quotes that was to be a command of its own.
var runsOn = regexp.MustCompile(`(>>?|tee\s+(-a\s+)?)\s*\S*ecs\.config`)

// runaway answers the line of a quote that swallows the commands after it up to the next stray quote: bash finds no fault in
// that, but nobody meant it. 0: there is none.
func (s *shell) runaway(st *syntax.Stmt) int {
	line := 0
	syntax.Walk(st, func(n syntax.Node) bool {
		if line > 0 {
			return false
		}
		switch n := n.(type) {
		case *syntax.Redirect:
			return n.Hdoc == nil
		case *syntax.CallExpr:
			if len(n.Args) > 0 {
				switch n.Args[0].Lit() {
				case "bash", "sh", "eval", "su", "ssh", "sudo":
					return false
				}
			}
		case *syntax.DblQuoted, *syntax.SglQuoted:
			from, to := int(n.Pos().Offset()), int(n.End().Offset())
			if n.End().Line() <= n.Pos().Line() || from >= to || to > len(s.src.body) {
				return true
			}
			first, _, _ := strings.Cut(s.src.body[from:to], "\n")
			if start := lineOffset(s.src.body, int(n.Pos().Line())); runsOn.MatchString(first) && strings.Contains(s.src.body[start:from], "=") {
				if _, ok := meant(strings.TrimRight(s.src.body[start:lineOffset(s.src.body, int(n.Pos().Line())+1)], "\n")); ok {
					line = int(n.Pos().Line())
				}
			}
			return false
		}
		return true
	})
	return line
}
