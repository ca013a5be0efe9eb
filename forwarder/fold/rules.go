package fold

import (
	"fmt"
	"path"
	"regexp"
	"time"
)

// userRule is a Rule, compiled. A stream whose tag it matches is folded by it alone.
type userRule struct {
	tag         string
	start, cont *regexp.Regexp // nil: not given
	begins      string         // what Event.Rule and Trace say
	continues   string
}

func compileRules(rules []Rule) ([]userRule, error) {
	var compiled []userRule
	for i, r := range rules {
		u := userRule{tag: r.Tag, begins: fmt.Sprintf("fold.rules[%d].start", i), continues: fmt.Sprintf("fold.rules[%d].continue", i)}
		if r.Continue == "" {
			u.continues = u.begins // what does not match it goes on
		}
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
	r := s.rule
	begins, continues := s.match(r, s.last != nil)
	if e := s.last; e != nil {
		if !begins && continues {
			e.rule = r.continues
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
	e.mode, e.rule = byRule, r.begins
	s.append(e, emit)
	return e
}

// What a user's rule may cost. The time an expression takes is linear in the line, but the factor is the user's.
const (
	maxMatched = 2 << 10               // bytes of a line that are looked at
	ruleSample = 16                    // one line of so many is timed
	ruleLines  = 64                    // timed lines over which the mean is taken
	ruleBudget = 50 * time.Microsecond // a line on average: 20,000 lines/s of one stream would take the whole loop
)

// budget is the account of a stream's rule.
type budget struct {
	lines uint32
	timed uint32
	spent time.Duration
	over  bool
}

// match asks the rule about s.line. A rule that is over its budget is given up for this stream, which is folded by the languages from
// then on.
func (s *Stream) match(r *userRule, open bool) (begins, continues bool) {
	text := s.line.text
	if len(text) > maxMatched {
		text = text[:maxMatched]
	}
	timed := s.budget.lines%ruleSample == 0
	s.budget.lines++
	var at time.Duration
	if timed {
		at = s.f.clock()
	}
	begins = r.start != nil && r.start.Match(text)
	continues = open && !begins && (r.cont == nil || r.cont.Match(text))
	if timed {
		s.budget.spent += s.f.clock() - at
		if s.budget.timed++; s.budget.timed == ruleLines {
			s.budget.over = s.budget.over || s.budget.spent > ruleLines*ruleBudget
			s.budget.timed, s.budget.spent = 0, 0
		}
	}
	return begins, continues
}

// RuleGivenUp is the key of the user's rule that took too long, so that the stream is folded without it; "" if none did.
func (s *Stream) RuleGivenUp() string {
	if s.rule == nil || !s.budget.over {
		return ""
	}
	return s.rule.begins[:len(s.rule.begins)-len(".start")]
}
