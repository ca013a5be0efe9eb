package userdata

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Conditions on texts that the script itself sets are known; all others are not.

func yes(b bool) outcome {
	if b {
		return succeeds
	}
	return fails
}

func (o outcome) not() outcome {
	switch o {
	case succeeds:
		return fails
	case fails:
		return succeeds
	}
	return unsure
}

// test follows test and [.
func (s *shell) test(args []string) outcome {
	if n := len(args); n > 0 && args[n-1] == "]" {
		args = args[:n-1]
	}
	if len(args) > 1 && args[0] == "!" {
		return s.test(args[1:]).not()
	}
	if slices.ContainsFunc(args, isUnknown) {
		return unsure
	}
	switch {
	case len(args) == 1:
		return yes(args[0] != "")
	case len(args) == 2 && args[0] == "-n":
		return yes(args[1] != "")
	case len(args) == 2 && args[0] == "-z":
		return yes(args[1] == "")
	case len(args) == 3 && (args[1] == "=" || args[1] == "=="):
		return yes(args[0] == args[2])
	case len(args) == 3 && args[1] == "!=":
		return yes(args[0] != args[2])
	}
	return unsure
}

// judge follows [[.
func (s *shell) judge(x syntax.TestExpr) outcome {
	switch x := x.(type) {
	case *syntax.Word:
		if text, ok := s.known(x); ok {
			return yes(text != "")
		}
	case *syntax.ParenTest:
		return s.judge(x.X)
	case *syntax.UnaryTest:
		switch x.Op {
		case syntax.TsNot:
			return s.judge(x.X).not()
		case syntax.TsEmpStr, syntax.TsNempStr:
			if w, ok := x.X.(*syntax.Word); ok {
				if text, ok := s.known(w); ok {
					return yes((text == "") == (x.Op == syntax.TsEmpStr))
				}
			}
		}
	case *syntax.BinaryTest:
		switch x.Op {
		case syntax.AndTest, syntax.OrTest:
			left := s.judge(x.X)
			if decides := yes(x.Op == syntax.OrTest); left == decides {
				return left
			}
			if right := s.judge(x.Y); left != unsure {
				return right
			}
		case syntax.TsMatch, syntax.TsMatchShort, syntax.TsNoMatch:
			left, ok := x.X.(*syntax.Word)
			right, ok2 := x.Y.(*syntax.Word)
			if !ok || !ok2 || globs(right) {
				return unsure
			}
			a, ok := s.known(left)
			b, ok2 := s.known(right)
			if ok && ok2 {
				return yes((a == b) == (x.Op != syntax.TsNoMatch))
			}
		}
	}
	return unsure
}

// choose finds the branch of a case that is taken; ok: that is known. nil: none.
func (s *shell) choose(c *syntax.CaseClause) (item *syntax.CaseItem, ok bool) {
	word, ok := s.known(c.Word)
	if !ok {
		return nil, false
	}
	for _, item := range c.Items {
		for _, p := range item.Patterns {
			if p.Lit() == "*" {
				return item, item.Op == syntax.Break
			}
			text, ok := s.known(p)
			if !ok || globs(p) {
				return nil, false
			}
			if text == word {
				return item, item.Op == syntax.Break
			}
		}
	}
	return nil, true
}

// known expands a word that depends on nothing but the script.
func (s *shell) known(w *syntax.Word) (string, bool) {
	text := s.literal(w)
	return text, !isUnknown(text)
}

// globs tells whether a word, as it stands where patterns do, may be one. What a variable holds may be one too.
func globs(w *syntax.Word) bool {
	for _, part := range w.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			if strings.ContainsAny(part.Value, `*?[\`) {
				return true
			}
		case *syntax.SglQuoted, *syntax.DblQuoted:
		default:
			return true
		}
	}
	return false
}
