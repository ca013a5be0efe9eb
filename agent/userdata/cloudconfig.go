package userdata

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/near"
)

var (
	yamlKey    = regexp.MustCompile(`(?m)^(write_files|bootcmd|runcmd|packages|package_update|users|fairlead|cloud_config_modules|cloud_final_modules|repo_update|yum_repos):`)
	jinjaHoles = regexp.MustCompile(`\{\{[^{}\n]*\}\}`)
	shellLine  = regexp.MustCompile(`(?m)^\s*(sudo\s+)?(echo|cat|printf|export|yum|dnf|apt-get|systemctl|mkdir|aws|set)\s`)
)

// configLines are what would stand in Target itself.
var configLines = regexp.MustCompile(`^(\s*(#.*)?\n)*\s*(ECS|AWS|NON_?ECS)_[A-Z0-9_]+=`)

func looksLikeShell(body string) bool { return shellLine.MatchString(body) }

// yaml keeps a document like fairlead.yaml, at its lines.
func (r *reader) yaml(t text, key string) {
	// Blank lines and blanks in front put everything where it stands in the file.
	pad := strings.Repeat("\n", max(0, t.line-1))
	r.YAML = append(r.YAML, YAML{File: t.file, Text: []byte(pad + t.body), Key: key})
}

// parseYAML parses a text; a fault is reported.
func (r *reader) parseYAML(t text) (body ast.Node) {
	defer func() {
		if p := recover(); p != nil { // a text that the parser cannot cope with is a text with an error
			r.report(t.at(1, 1), document.Error, "not a YAML document", "")
			body = nil
		}
	}()
	if nests(t.body) {
		r.report(t.at(1, 1), document.Error, "nested too deep, not read", "")
		return nil
	}
	f, err := parser.ParseBytes([]byte(t.body), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		line, column, message := 1, 1, err.Error()
		if e, ok := err.(yaml.Error); ok { //nolint:errorlint // the parser returns it bare
			message = e.GetMessage()
			if e.GetToken() != nil {
				line, column = e.GetToken().Position.Line, e.GetToken().Position.Column
			}
		}
		fix := ""
		if strings.Contains(message, "'\t'") {
			fix = "indent with blanks, not with tabs"
		}
		r.report(t.at(line, column), document.Error, message, fix) // as package document does, which reads the same text
		return nil
	}
	for _, d := range f.Docs {
		if d.Body != nil {
			return d.Body
		}
	}
	return nil
}

// nests tells whether brackets or indentation nest deeper than any document does.
func nests(body string) bool {
	open := 0
	for i := range len(body) {
		switch body[i] {
		case '[', '{':
			open++
		case ']', '}':
			open = max(0, open-1)
		}
		if open > 200 {
			return true
		}
	}
	for line := range strings.Lines(body) {
		if strings.Count(line, "- ") > 200 && strings.HasPrefix(strings.ReplaceAll(strings.TrimSpace(line), " ", ""), strings.Repeat("-", 100)) ||
			strings.Count(line, "? ") > 100 || strings.Count(line, ": ") > 2000 || len(line)-len(strings.TrimLeft(line, " ")) > 1000 {
			return true
		}
	}
	return false
}

// mergeCloudConfigs reads what the cloud-configs do to Target. Of several, the last that has a key counts, as cloud-init
// merges by default.
func (r *reader) mergeCloudConfigs() {
	type found struct {
		t text
		n ast.Node
	}
	last := map[string]found{}
	for _, t := range r.cloudConfigs {
		m, ok := r.parseYAML(t).(ast.MapNode)
		if !ok {
			continue
		}
		for it := m.MapRange(); it.Next(); {
			key := it.Key().String()
			if key != "fairlead" && near.Word(key, []string{"fairlead"}) != "" {
				at := it.Key().GetToken().Position
				r.report(t.at(at.Line, at.Column), document.Warning, fmt.Sprintf("%s: neither cloud-init nor fairlead knows this key", clip(key)), "did you mean fairlead?")
			}
			if old, ok := last[key]; ok && (key == "write_files" || key == "bootcmd" || key == "runcmd") {
				at := it.Key().GetToken().Position
				r.report(t.at(at.Line, at.Column), document.Warning, fmt.Sprintf("cloud-init takes this %s instead of that in line %d of %s, not both",
					key, old.t.at(old.n.GetToken().Position.Line, 1).Line, old.t.file), "put them together, or set merge_how: 'list(append)+dict(recurse_array)+str()'")
			}
			last[key] = found{t, it.Value()}
		}
	}
	if f, ok := last["bootcmd"]; ok {
		r.commands(f.t, f.n, bootcmd, "bootcmd")
	}
	if f, ok := last["write_files"]; ok {
		r.writeFiles(f.t, f.n)
	}
	if f, ok := last["runcmd"]; ok {
		r.commands(f.t, f.n, script, "runcmd")
	}
}

// commands reads bootcmd or runcmd: a list of lines for the shell, or of argument lists.
func (r *reader) commands(t text, n ast.Node, when stage, name string) {
	seq, ok := plainNode(n).(*ast.SequenceNode)
	if !ok {
		return
	}
	var out []chunk
	for _, n := range seq.Values {
		n = plainNode(n)
		var line text
		if args, ok := n.(*ast.SequenceNode); ok {
			var words []string
			for _, a := range args.Values {
				words = append(words, quoteWord(scalarText(plainNode(a))))
			}
			p := n.GetToken().Position
			at := t.at(p.Line, p.Column)
			line = text{file: at.File, body: strings.Join(words, " "), line: at.Line, column: at.Column, flat: true}
		} else {
			line = scalarAt(t, n)
		}
		before := len(r.writes)
		r.shell(line, when, name)
		for _, w := range r.writes[before:] {
			out = append(out, w.out...)
		}
		r.writes = r.writes[:before]
	}
	if i := slices.IndexFunc(out, func(c chunk) bool { return !c.once && !c.truncate }); when == bootcmd && i >= 0 {
		r.report(out[i].at, document.Warning, "bootcmd runs at every boot: the file grows with each", "write cloud-init-per once NAME before the command, or use a shell script part")
	}
	r.writes = append(r.writes, write{when, name, out})
}

func quoteWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// writeFiles reads the entries of write_files that are for Target.
func (r *reader) writeFiles(t text, n ast.Node) {
	seq, ok := plainNode(n).(*ast.SequenceNode)
	if !ok {
		return
	}
	var out []chunk
	for _, n := range seq.Values {
		m, ok := plainNode(n).(ast.MapNode)
		if !ok {
			continue
		}
		fields := map[string]ast.Node{}
		binary := false // YAML itself says that the content is base64
		for it := m.MapRange(); it.Next(); {
			fields[it.Key().String()] = plainNode(it.Value())
			if tag, ok := it.Value().(*ast.TagNode); ok && it.Key().String() == "content" {
				binary = strings.HasSuffix(tag.Start.Value, "!binary")
			}
		}
		name := scalarText(fields["path"])
		switch {
		case path.Clean(name) == Target:
		case name == "ecs.config":
			r.report(placeOf(t, fields["path"]), document.Error, "a relative path: this is /ecs.config, which the agent does not read", "write "+Target)
		default:
			if misnamed.MatchString(path.Clean(name)) {
				r.report(placeOf(t, fields["path"]), document.Error, path.Clean(name)+" is not the file that the agent reads", "write "+Target)
			}
			if body, err := decodeContent(scalarText(fields["content"]), scalarText(fields["encoding"])); err == nil && path.IsAbs(name) && !isTrue(scalarText(fields["append"])) && len(r.files) < maxFiles {
				at := scalarAt(t, fields["content"])
				if body != at.body {
					at.flat = true
				}
				r.files[path.Clean(name)] = &output{chunks: []chunk{{text: body, at: at.at(1, 1), rising: !at.flat}}}
			}
			continue
		}
		var content text
		if c := fields["content"]; c != nil {
			content = scalarAt(t, c)
		} else if c := fields["source"]; c != nil {
			r.report(placeOf(t, c), document.Warning, "what stands at this address is known only at boot: left to cloud-init", "")
			continue
		}
		body, err := content.body, error(nil)
		if binary {
			body, err = decodeContent(body, "b64")
		}
		if err == nil {
			body, err = decodeContent(body, scalarText(fields["encoding"]))
		}
		if err != nil {
			r.report(placeOf(t, fields["content"]), document.Error, fmt.Sprintf("the content cannot be decoded: %v", err), "")
			continue
		}
		if body != content.body {
			content.body, content.flat = body, true
		}
		if !isTrue(scalarText(fields["append"])) {
			out = append(out, chunk{truncate: true, at: placeOf(t, fields["path"])})
		}
		if content.body != "" {
			out = append(out, chunk{text: content.body, at: content.at(1, 1), rising: !content.flat})
		}
	}
	if len(out) > 0 {
		r.writes = append(r.writes, write{writeFiles, "write_files", out})
	}
}

// isTrue is cloud-init's idea of it.
func isTrue(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "1", "on", "yes":
		return true
	}
	return false
}

func decodeContent(body, encoding string) (string, error) {
	switch strings.ToLower(encoding) {
	case "", "text/plain":
		return body, nil
	case "b64", "base64":
		plain, ok := decodeBase64(body)
		if !ok {
			return "", fmt.Errorf("not base64")
		}
		return plain, nil
	case "gz+base64", "gzip+base64", "gz+b64", "gzip+b64":
		if strings.HasPrefix(body, "\x1f\x8b") {
			return gunzip(body) // YAML's !!binary has undone the base64
		}
		packed, ok := decodeBase64(body)
		if !ok {
			return "", fmt.Errorf("not base64")
		}
		return gunzip(packed)
	case "gz", "gzip":
		return gunzip(body)
	}
	return "", fmt.Errorf("unknown encoding %q", clip(encoding))
}

// archive reads a cloud-config-archive: a list of {type, content, filename}.
func (r *reader) archive(t text, depth int) {
	if depth > maxDepth {
		return
	}
	seq, ok := r.parseYAML(t).(*ast.SequenceNode)
	if !ok {
		return
	}
	for _, n := range seq.Values {
		if r.parts++; r.parts > maxParts {
			return
		}
		n = plainNode(n)
		m, ok := n.(ast.MapNode)
		if !ok {
			r.archived(scalarAt(t, n), "", depth)
			continue
		}
		kind := ""
		var content text
		for it := m.MapRange(); it.Next(); {
			switch it.Key().String() {
			case "type":
				kind = scalarText(plainNode(it.Value()))
			case "content":
				content = scalarAt(t, plainNode(it.Value()))
			}
		}
		r.archived(content, kind, depth)
	}
}

func (r *reader) archived(t text, kind string, depth int) {
	t.name = fmt.Sprintf("part-%03d", r.parts)
	if kind == "" {
		r.unwrap(t, depth+1)
		return
	}
	r.part(t, header{"content-type": kind}, 0, depth+1)
}

// plainNode is the node without its anchor or tag. Aliases are not followed: they have no place of their own.
func plainNode(n ast.Node) ast.Node {
	for range 10 {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.TagNode:
			n = v.Value
		default:
			return n
		}
	}
	return n
}

func scalarText(n ast.Node) string {
	switch n := n.(type) {
	case nil:
		return ""
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value
	}
	return ""
}

func placeOf(t text, n ast.Node) document.Place {
	if n == nil || n.GetToken() == nil {
		return t.at(1, 1)
	}
	return t.at(n.GetToken().Position.Line, n.GetToken().Position.Column)
}

// scalarAt is a text in YAML with its place. The lines of a literal block (|) are lines of the file.
func scalarAt(t text, n ast.Node) text {
	if n == nil {
		return text{file: t.file, line: t.line, column: t.column}
	}
	at := placeOf(t, n)
	out := text{file: at.File, body: scalarText(n), line: at.Line, column: at.Column, flat: strings.Contains(scalarText(n), "\n")}
	switch n := n.(type) {
	case *ast.LiteralNode:
		if !strings.HasPrefix(n.Start.Value, "|") || t.flat {
			return out
		}
		// The block begins in the line after the |, at the indentation of its first line that is not blank.
		start := lineOffset(t.body, n.Start.Position.Line+1)
		indent := 0
		for line := range strings.Lines(t.body[start:]) {
			if strings.TrimSpace(line) != "" {
				indent = len(line) - len(strings.TrimLeft(line, " "))
				break
			}
		}
		out.line, out.column, out.indent, out.flat = t.at(n.Start.Position.Line+1, 1).Line, indent+1, indent, false
	case *ast.StringNode:
		if q := n.GetToken().Type.String(); strings.Contains(q, "Quote") {
			out.column++
		}
	}
	return out
}
