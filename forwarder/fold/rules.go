package fold

import (
	"fmt"
	"path"
	"regexp"
)

// userRule is a Rule, compiled. A stream whose tag it matches is folded by it alone.
type userRule struct {
	tag         string
	start, cont *regexp.Regexp // nil: not given
}

func compileRules(rules []Rule) ([]userRule, error) {
	var compiled []userRule
	for i, r := range rules {
		u := userRule{tag: r.Tag}
		for _, x := range []struct {
			key, expr string
			re        **regexp.Regexp
		}{{"start", r.Start, &u.start}, {"continue", r.Continue, &u.cont}} {
			if x.expr == "" {
				continue
			}
			re, err := regexp.Compile(x.expr)
			if err != nil {
				return nil, fmt.Errorf("fold.rules[%d].%s: %w", i, x.key, err)
			}
			*x.re = re
		}
		compiled = append(compiled, u)
	}
	return compiled, nil
}

// ruleFor is the first rule whose glob matches the tag.
func (f *Folder) ruleFor(tag string) *userRule {
	for i := range f.rules {
		if ok, _ := path.Match(f.rules[i].tag, tag); ok {
			return &f.rules[i]
		}
	}
	return nil
}

// placeByRule: a line that matches start begins an event; one that matches continue (any, if there is none) goes on with the event
// before it. What neither begins nor continues is an event of its own; without start, it begins one.
func (s *Stream) placeByRule(emit func(*Event)) *event {
	l, r := &s.line, s.rule
	begins := r.start != nil && r.start.Match(l.text)
	if e := s.last; e != nil {
		if !begins && (r.cont == nil || r.cont.Match(l.text)) {
			s.append(e, emit)
			return e
		}
		s.end(e)
		s.release(emit)
	}
	if !begins && r.start != nil {
		return s.single("line", emit)
	}
	e := s.start(emit)
	e.mode, e.rule = byRule, "user-rule"
	s.append(e, emit)
	return e
}
