// Package document reads configuration documents (YAML text, environment variables) into one tagged struct, strictly.
//
// Every key must be known and every value must fit, and whatever is wrong is reported with file, line and column and what
// to write instead: all of it, not only the first. Several documents read one after the other merge: maps key by key,
// lists and single values are replaced. What only the owner of a value can judge stays with its Validate; Reader.Invalid
// finds the place for what that says.
package document

import (
	"fmt"
	"strings"
)

// Severity says whether a finding stops a configuration from being used.
type Severity string

// The severities. A document with warnings only is used.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Finding is one thing wrong with a document. Its JSON form is stable: `fairlead check --json` prints it.
type Finding struct {
	File     string   `json:"file"` // or "environment NAME"
	Line     int      `json:"line"` // from 1; 0: the file as a whole
	Column   int      `json:"column"`
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
	Fix      string   `json:"fix"` // what to do, where it is known
}

// String writes the finding as `file:line:col: severity: text (fix: ...)`.
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
	}
	if f.File != "" {
		b.WriteString(": ")
	}
	fmt.Fprintf(&b, "%s: %s", f.Severity, f.Text)
	if f.Fix != "" {
		fmt.Fprintf(&b, " (fix: %s)", f.Fix)
	}
	return b.String()
}

// Count tells how many of the findings have the severity.
func Count(findings []Finding, s Severity) int {
	n := 0
	for _, f := range findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// place is where a key was set.
type place struct {
	file         string
	line, column int
}

func (p place) finding(s Severity, text, fix string) Finding {
	return Finding{File: p.file, Line: p.line, Column: p.column, Severity: s, Text: text, Fix: fix}
}
