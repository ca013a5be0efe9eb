package userdata

import (
	"path"
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/fairlead/fairlead/internal/document"
)

// redirect follows the redirections of a statement. It answers true where they outlast it: exec without a command.
func (s *shell) redirect(st *syntax.Stmt) (keep bool) {
	if c, ok := st.Cmd.(*syntax.CallExpr); ok && len(c.Args) == 1 && c.Args[0].Lit() == "exec" {
		keep = true
	}
	stderr := &sink{config: s.out.config}
	for _, rd := range st.Redirs {
		fd := ""
		if rd.N != nil {
			fd = rd.N.Value
		}
		switch rd.Op {
		case syntax.RdrOut, syntax.RdrClob, syntax.AppOut:
			to := s.open(rd, rd.Op == syntax.AppOut)
			switch fd {
			case "", "1":
				s.out = to
			case "2":
				stderr = to
			}
		case syntax.RdrAll, syntax.AppAll:
			s.out = s.open(rd, rd.Op == syntax.AppAll)
		case syntax.DplOut:
			switch name := s.word(rd.Word); {
			case (fd == "" || fd == "1") && name == "2":
				s.out = stderr
			case (fd == "" || fd == "1") && name != "1":
				s.out = &sink{config: s.out.config} // >&3, >&-, >&file
				if keyed := s.abs(name); name != "" && !isNumber(name) && name != "-" && keyed == Target {
					s.out = s.open(rd, false)
				}
			}
		case syntax.Hdoc, syntax.DashHdoc:
			if fd == "" || fd == "0" {
				s.in = s.document(rd)
			}
		case syntax.WordHdoc:
			if fd == "" || fd == "0" {
				s.in = &sink{kind: buffer, chunks: []chunk{{text: s.literal(rd.Word) + "\n", at: s.at(rd.Word.Pos())}}, config: s.out.config}
			}
		case syntax.RdrIn, syntax.RdrInOut:
			if fd == "" || fd == "0" {
				name := s.word(rd.Word)
				if s.in = s.content(name); name == "/dev/null" {
					s.in = &sink{kind: buffer, config: s.out.config}
				}
			}
		}
	}
	return keep
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// open is the sink of a redirection to a file.
func (s *shell) open(rd *syntax.Redirect, appends bool) *sink {
	return s.file(s.word(rd.Word), rd.Word.Pos(), appends)
}

// file is the sink of a file, emptied unless appended to.
func (s *shell) file(name string, pos syntax.Pos, appends bool) *sink {
	to := &sink{config: s.out.config}
	if isUnknown(name) {
		if strings.Contains(name, "ecs.config") {
			s.r.report(s.at(pos), document.Warning, "the file depends on "+hole(name)+", which is known only when the script runs: left to the script", "write "+Target)
		}
		return to
	}
	if s.abs(name) != Target {
		if misnamed.MatchString(s.abs(name)) {
			s.r.report(s.at(pos), document.Error, s.abs(name)+" is not the file that the agent reads", "write "+Target)
			return to
		}
		if path.Base(name) != path.Base(Target) || path.IsAbs(name) && !strings.HasPrefix(s.abs(name), "/etc/ecs") || !path.IsAbs(name) && s.cwd != "/" {
			to.kind, to.other = another, s.scratch(s.abs(name), appends)
			return to
		}
		if path.IsAbs(name) {
			s.r.report(s.at(pos), document.Error, s.abs(name)+" is not the file that the agent reads", "write "+Target)
			return to
		}
		s.r.report(s.at(pos), document.Error, "a relative path: the script runs in "+s.cwd+", so this is "+s.abs(name)+", which the agent does not read", "write "+Target)
	}
	to.kind = target
	if !appends {
		s.empty(pos)
	}
	return to
}

// maxFiles bounds how many files of a script's own are followed.
const maxFiles = 100

// scratch is what the script has written to a file of its own so far, nothing unless it appends.
func (s *shell) scratch(name string, appends bool) *output {
	o := s.files[name]
	switch {
	case appends && o != nil:
		return o
	case appends || s.maybe > 0 || len(s.files) >= maxFiles:
		o = &output{chunks: []chunk{{text: marker("what "+name+" holds") + "\n"}}}
	default:
		o = &output{}
	}
	s.files[name] = o
	return o
}

// content feeds a file that the script has written to a command; nothing if it is not known.
func (s *shell) content(name string) *sink {
	if isUnknown(name) {
		return nil
	}
	o := s.files[s.abs(name)]
	if o == nil {
		return nil
	}
	*s.steps += len(o.chunks) / 50 // to pass them on is work
	return &sink{kind: buffer, chunks: o.chunks, config: s.out.config}
}

// misnamed is what Target was taken for.
var misnamed = regexp.MustCompile(`^/etc/ecs/(ecs\.(conf|cfg|cnf|conifg|confg|env|ini)|config|ecs-config|ecs_config|ecs)$`)

// empty empties Target.
func (s *shell) empty(pos syntax.Pos) {
	if s.maybe > 0 {
		s.condition(pos)
		return
	}
	s.out.config.add(chunk{truncate: true, at: s.at(pos)})
}

func (s *shell) condition(pos syntax.Pos) {
	s.r.report(s.at(pos), document.Warning, "whether this is written depends on a condition that is known only when the script runs: left to the script", "")
}

// document is the text of a here-document.
func (s *shell) document(rd *syntax.Redirect) *sink {
	in := &sink{kind: buffer, config: s.out.config}
	if rd.Hdoc == nil {
		return in
	}
	body := s.hereDocument(rd)
	if body != "" {
		in.chunks = append(in.chunks, chunk{text: body, at: s.at(rd.Hdoc.Pos()), rising: !s.src.flat})
	}
	return in
}

// write puts text out.
func (s *shell) write(c chunk) {
	o := s.out
	if c.text == "" {
		return
	}
	switch o.kind {
	case elsewhere:
	case buffer:
		if o.size += len(c.text); o.size <= maxOutput {
			o.chunks = append(o.chunks, c)
		}
	case another:
		if s.maybe > 0 {
			c.text = marker("a condition") + "\n"
		}
		o.other.add(c)
	case target:
		if s.maybe > 0 {
			s.r.report(c.at, document.Warning, "whether "+whatIsWritten(c.text)+" is written depends on a condition that is known only when the script runs: left to the script", "")
			return
		}
		c.once = s.once
		o.config.add(c)
	}
}

func whatIsWritten(text string) string {
	if key, _, ok := strings.Cut(text, "="); ok && isKey(key) {
		return strings.TrimSpace(key)
	}
	return "this"
}

// unseen is output of a command that is not followed.
func (s *shell) unseen(pos syntax.Pos, name string) {
	s.write(chunk{text: marker("the output of "+name) + "\n", at: s.at(pos)})
}
