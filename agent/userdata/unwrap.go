package userdata

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/fairlead/fairlead/internal/document"
)

// form is what cloud-init calls a part's type.
type form string

const (
	isScript      form = "shell script"
	isCloudConfig form = "cloud-config"
	isArchive     form = "cloud-config archive"
	isBoothook    form = "boothook"
	isInclude     form = "include"
	isHandler     form = "part handler"
	isUpstart     form = "upstart job"
	isJinja       form = "jinja template"
	isMIME        form = "MIME"
	isJSON        form = "ECS agent's JSON"
	isTOML        form = "Bottlerocket's TOML"
	isFairlead    form = "fairlead"
	isOther       form = ""
)

type prefix struct {
	begins string // in lower case
	form   form
}

// prefixes tell the forms apart, the longest first.
var prefixes = []prefix{
	{"## template: jinja", isJinja},
	{"#cloud-config-archive", isArchive},
	{"#cloud-boothook", isBoothook},
	{"#cloud-config", isCloudConfig},
	{"#upstart-job", isUpstart},
	{"#part-handler", isHandler},
	{"#include", isInclude},
	{"#!", isScript},
}

// formOf judges by content, as cloud-init does.
func formOf(body string) form {
	if isMIMEMessage(body) {
		return isMIME
	}
	head := strings.TrimLeft(body, "\ufeff \t\r\n")
	for _, p := range prefixes {
		if len(head) >= len(p.begins) && strings.EqualFold(head[:len(p.begins)], p.begins) {
			return p.form
		}
	}
	switch {
	case strings.HasPrefix(head, "{"):
		return isJSON
	case hasTOML(head):
		return isTOML
	}
	return isOther
}

// unwrap undoes packing until the text says what it is.
func (r *reader) unwrap(t text, depth int) {
	if r.bytes += len(t.body); r.bytes > 2*maxBytes || depth > maxDepth {
		r.report(t.at(1, 1), document.Error, "packed too deep or too large, not read", "write it plainly")
		return
	}
	if strings.HasPrefix(t.body, "\x1f\x8b") {
		body, err := gunzip(t.body)
		if err != nil && body == "" {
			r.report(t.at(0, 0), document.Error, fmt.Sprintf("cannot be unpacked: %v", err), "pack it again with gzip")
			return
		}
		if err != nil {
			r.report(t.at(0, 0), document.Error, fmt.Sprintf("the gzip data is damaged: %v; what comes before is read", err), "pack it again with gzip")
		}
		r.Forms = append(r.Forms, "gzip")
		r.unwrap(t.decoded("unpacked", body), depth+1)
		return
	}
	if strings.TrimSpace(t.body) == "" {
		return
	}
	if body, ok := fromUTF16(t.body); ok {
		r.report(t.at(1, 1), document.Error, "saved as UTF-16: cloud-init does not read it, fairlead does", "save it as UTF-8, without a byte order mark")
		r.unwrap(t.decoded("from UTF-16", body), depth+1)
		return
	}
	if !utf8.ValidString(t.body) {
		r.report(t.at(1, 1), document.Warning, "not valid UTF-8", "save it as UTF-8")
		t.body = strings.ToValidUTF8(t.body, "\ufffd") // the shell takes any bytes, its parser does not
	}
	if body, ok := oneLine(t.body); ok {
		r.report(t.at(1, 1), document.Error, `its line breaks stand in it as \n: for cloud-init it is one line, of which it can do nothing; read with them undone`, "give the text itself, with its line breaks")
		r.unwrap(t.decoded("line breaks undone", body), depth+1)
		return
	}
	if from, to, ok := wrapped(t.body); ok {
		first, _, _ := strings.Cut(strings.TrimSpace(t.body), "\n")
		r.report(t.at(1, 1), document.Error, fmt.Sprintf("%q belongs to the template that the text was taken from: cloud-init does not know the text with it; read without", clip(strings.TrimSpace(first))), "give the text alone")
		r.unwrap(t.part(from, to), depth+1)
		return
	}
	form := formOf(t.body)
	if form == isOther {
		if body, ok := unbase64(t.body); ok {
			r.Forms = append(r.Forms, "base64")
			r.report(t.at(0, 0), document.Warning, "encoded as base64 once more than EC2 undoes: cloud-init does not read it, fairlead does",
				"give EC2 the text itself, or encode it only once")
			r.unwrap(t.decoded("decoded", body), depth+1)
			return
		}
	}
	r.take(t, form, depth)
}

// take reads a text of a known form.
func (r *reader) take(t text, f form, depth int) {
	if f != isOther {
		r.Forms = append(r.Forms, string(f))
	}
	if trimmed := strings.TrimLeft(t.body, "\ufeff \t\r\n"); f != isMIME && f != isOther && len(trimmed) < len(t.body) {
		skipped := t.body[:len(t.body)-len(trimmed)]
		if f == isScript || f == isCloudConfig || f == isBoothook {
			severity, what := document.Error, "blank lines or blanks before the first line of the %s: cloud-init keeps them, and the kernel runs only what begins with #!"
			switch {
			case strings.Contains(skipped, "\ufeff"):
				what = "a byte order mark before the first line of the %s: cloud-init does not know it then and does nothing with it"
			case f == isCloudConfig:
				severity, what = document.Warning, "blank lines or blanks before the first line of the %s: cloud-init of some versions does not know it then"
			}
			r.report(t.at(1, 1), severity, fmt.Sprintf(what, f), "let the first line be the first")
		}
		t = t.part(len(skipped), len(t.body))
	}
	switch f {
	case isMIME:
		r.mime(t, depth)
	case isJinja:
		r.jinja(t, depth)
	case isScript:
		r.script(t, script)
	case isBoothook:
		r.boothook(t)
	case isCloudConfig:
		r.cloudConfigs = append(r.cloudConfigs, t)
		r.yaml(t, "fairlead")
	case isFairlead:
		r.yaml(t, "")
	case isArchive:
		r.archive(t, depth)
	case isInclude:
		r.report(t.at(1, 1), document.Warning, "what these addresses hold is not in the user data: cloud-init fetches and runs it, fairlead does not read it", "")
	case isUpstart, isHandler:
		r.report(t.at(1, 1), document.Warning, fmt.Sprintf("fairlead does not read this %s", f), "")
	case isJSON:
		r.agentJSON(t)
	case isTOML:
		r.toml(t)
	default:
		r.other(t)
	}
}

// other is a text that neither cloud-init nor anybody else would handle.
func (r *reader) other(t text) {
	first, _, _ := strings.Cut(strings.TrimSpace(t.body), "\n")
	switch {
	case strings.HasPrefix(strings.ToLower(first), "content-type:"):
		r.report(t.at(1, 1), document.Error, "a MIME message without a MIME-Version line: cloud-init does not handle it", "let the first line be: MIME-Version: 1.0")
		if i := strings.Index(t.body, first); i >= 0 {
			r.mime(t.part(i, len(t.body)), 0)
		}
	case looksLikeShell(t.body):
		r.report(t.at(1, 1), document.Error, "looks like a shell script without its first line: cloud-init does not run it", "let the first line be: #!/bin/bash")
		r.script(t, script)
	case yamlKey.MatchString(t.body):
		r.report(t.at(1, 1), document.Error, "looks like cloud-config without its first line: cloud-init does not read it", "let the first line be: #cloud-config")
		r.cloudConfigs = append(r.cloudConfigs, t)
		r.yaml(t, "fairlead")
	case configLines.MatchString(t.body):
		r.report(t.at(1, 1), document.Error, "lines of ecs.config: cloud-init does nothing with them, fairlead takes them",
			"write them by a script: #!/bin/bash, cat <<'EOF' >> "+Target+", the lines, EOF")
		r.writes = append(r.writes, write{script, t.name, []chunk{{text: t.body, at: t.at(1, 1), rising: !t.flat}}})
	default:
		r.report(t.at(1, 1), document.Warning, "neither a script nor any other form that is known: cloud-init and fairlead do nothing with it",
			"begin with #!/bin/bash, #cloud-config or MIME-Version: 1.0")
	}
}

// jinja drops the header; what the template would fill in is not known here.
func (r *reader) jinja(t text, depth int) {
	i := strings.IndexByte(t.body, '\n')
	if i < 0 {
		return
	}
	rest := t.part(i+1, len(t.body))
	rest.body = r.withoutBranches(rest)
	rest.body = jinjaHoles.ReplaceAllStringFunc(rest.body, func(hole string) string {
		name := strings.TrimSpace(strings.Trim(hole, "{}"))
		return marker("{{ " + name + " }}")
	})
	if f := formOf(rest.body); f != isJinja && f != isOther {
		r.take(rest, f, depth+1)
		return
	}
	r.other(rest)
}

var jinjaStatements = regexp.MustCompile(`\{%-?\+?\s*(\w*)[^%]*%\}`)

// withoutBranches blanks jinja's statements, and what stands between those that decide whether it is there. The lines stay where they are.
func (r *reader) withoutBranches(t text) string {
	out := []byte(t.body)
	blank := func(from, to int) {
		for i := from; i < to; i++ {
			if out[i] != '\n' {
				out[i] = ' '
			}
		}
	}
	open, began := 0, 0
	for _, m := range jinjaStatements.FindAllStringSubmatchIndex(t.body, -1) {
		blank(m[0], m[1])
		switch word := t.body[m[2]:m[3]]; word {
		case "if", "for", "macro", "block", "filter", "call":
			if open++; open == 1 {
				began = m[0]
				r.report(t.part(m[0], m[1]).at(1, 1), document.Warning, "what stands below this "+word+" of the template is left to cloud-init", "")
			}
		case "endif", "endfor", "endmacro", "endblock", "endfilter", "endcall":
			if open--; open == 0 {
				blank(began, m[1])
			}
			open = max(0, open)
		}
	}
	if open > 0 {
		blank(began, len(out))
	}
	return string(out)
}

func gunzip(body string) (string, error) {
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(io.LimitReader(z, maxBytes+1))
	if len(out) > maxBytes {
		return "", fmt.Errorf("more than %d bytes", maxBytes)
	}
	return string(out), err
}

// unbase64 decodes a text that is base64 as a whole. A short word may look like it by chance: what comes out has to be
// something that user data can be.
func unbase64(body string) (string, bool) {
	packed := bytes.Map(func(c rune) rune {
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
			return -1
		}
		return c
	}, []byte(body))
	if len(packed) < 4 {
		return "", false
	}
	out, err := base64.StdEncoding.DecodeString(string(packed))
	if err != nil {
		if out, err = base64.RawStdEncoding.DecodeString(string(packed)); err != nil {
			return "", false
		}
	}
	text := string(out)
	if strings.HasPrefix(text, "\x1f\x8b") || formOf(text) != isOther || looksLikeShell(text) || yamlKey.MatchString(text) {
		return text, true
	}
	if len(packed) < 16 {
		return "", false
	}
	_, again := unbase64(text)
	return text, again
}
