package userdata

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/edit"
)

// Target is the file that scripts write to.
const Target = "/etc/ecs/ecs.config"

// Document is what user data says.
type Document struct {
	Forms    []string            // what it consists of, in order, for people: "MIME", "shell script"
	Lines    []edit.Line         // what its scripts do to Target, in the order in which they run
	YAML     []YAML              // parts that are documents like fairlead.yaml, later ones win
	Settings []document.Settings // what foreign documents (Bottlerocket's TOML, the agent's JSON) declare
	Findings []document.Finding  // in the order of the text
}

// YAML is a document like fairlead.yaml.
type YAML struct {
	File string
	Text []byte // with empty lines before it, so that its lines are counted as in the file
	Key  string // the key it stands under; empty: the whole text
}

// The bounds. EC2 allows 16 KiB, packed; files given to check may be larger.
const (
	maxBytes = 256 << 10 // of the input, and of everything unpacked from it together
	maxParts = 200
	maxDepth = 8 // of MIME in MIME, base64 in gzip, script in script
)

// reader collects what is found.
type reader struct {
	Document
	bytes, parts int
	tooMuch      bool // it was said that a script does too much
	writes       []write
	cloudConfigs []text             // several are merged as cloud-init does
	files        map[string]*output // what write_files writes beside Target, by path: runcmd may run it or copy it
}

// write is what one script writes, and when it runs.
type write struct {
	stage stage
	name  string // scripts of a stage run by name
	out   []chunk
}

// stage is the point of the boot at which a script runs.
type stage int

const (
	boothook stage = iota // as the part is met, at every boot
	bootcmd
	writeFiles
	script // by cloud-final
)

// Read reads user data. name stands for it in the findings. An empty one is fine: it asks for nothing.
func Read(name string, data []byte) Document {
	r := &reader{files: map[string]*output{}}
	if len(data) > maxBytes {
		r.report(document.Place{File: name}, document.Error, fmt.Sprintf("%d bytes, EC2 takes 16384 and fairlead reads %d", len(data), maxBytes), "")
		return r.Document
	}
	r.unwrap(text{file: name, body: string(data), line: 1, column: 1}, 0)
	r.mergeCloudConfigs()
	slices.SortStableFunc(r.writes, func(a, b write) int {
		return cmp.Or(cmp.Compare(a.stage, b.stage), cmp.Compare(a.name, b.name))
	})
	var all []chunk
	for _, w := range r.writes {
		all = append(all, w.out...)
	}
	r.Lines = r.lines(all)
	slices.SortStableFunc(r.Findings, func(a, b document.Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	r.Findings = slices.Compact(r.Findings)
	return r.Document
}

// maxFindings keeps hostile input from filling the log.
const maxFindings = 200

func (r *reader) report(at document.Place, s document.Severity, text, fix string) {
	if len(r.Findings) < maxFindings {
		r.Findings = append(r.Findings, at.Finding(s, text, fix))
	}
}

// text is a piece of the user data, and where it begins.
type text struct {
	file         string
	name         string // of the part: what cloud-init would call its script
	body         string
	line, column int
	indent       int  // columns before each line but the first
	flat         bool // the lines of body are not lines of the file: all is at one place
}

// at is the place of line and column of the body, from 1.
func (t text) at(line, column int) document.Place {
	switch {
	case t.flat || line < 1:
		return document.Place{File: t.file, Line: t.line, Column: t.column}
	case line == 1:
		return document.Place{File: t.file, Line: t.line, Column: t.column + column - 1}
	}
	return document.Place{File: t.file, Line: t.line + line - 1, Column: t.indent + column}
}

// part is the rest of the body from byte offset on, up to end.
func (t text) part(offset, end int) text {
	line, column := 1, offset+1
	for i := range offset {
		if t.body[i] == '\n' {
			line, column = line+1, offset-i
		}
	}
	at := t.at(line, column)
	t.body, t.line, t.column = t.body[offset:end], at.Line, at.Column
	return t
}

// decoded is a body that was unpacked from t: its lines are counted from its own first.
func (t text) decoded(how, body string) text {
	return text{file: t.file + " (" + how + ")", name: t.name, body: body, line: 1, column: 1}
}
