package userdata

import (
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/internal/document"
)

// fairleadType is the type of a part that is a document like fairlead.yaml.
const fairleadType = "application/vnd.fairlead+yaml"

// isMIMEMessage tells whether cloud-init takes the text for one: mime-version: anywhere in its first 4096 bytes. It must
// begin a line here, so that a script that writes a mail is no mail.
func isMIMEMessage(body string) bool {
	head := strings.ToLower(body[:min(len(body), 4096)])
	head = strings.TrimLeft(head, "\ufeff \t\r\n")
	if strings.HasPrefix(head, "{") || slices.ContainsFunc(prefixes, func(p prefix) bool { return strings.HasPrefix(head, p.begins) }) {
		return false
	}
	return strings.HasPrefix(head, "mime-version:") || strings.Contains(head, "\nmime-version:")
}

var mimeHeader = regexp.MustCompile(`(?mi)^(mime-version|content-type):`)

// header is the head of a message or part.
type header map[string]string

// head parts a text into its header and the offset of its body. Where a part has no blank line after its header, the first
// line that is no header begins the body.
func head(body string) (h header, start int, blank bool) {
	h = header{}
	last := ""
	pos := 0
	for pos < len(body) {
		line, rest, _ := strings.Cut(body[pos:], "\n")
		next := len(body) - len(rest)
		trimmed := strings.TrimRight(line, "\r")
		switch {
		case strings.TrimSpace(trimmed) == "" && len(h) == 0 && pos == 0 && rest != "":
			// Blank lines before the header of the message.
			if !startsHeader(rest) {
				return h, next, true
			}
		case strings.TrimSpace(trimmed) == "":
			return h, next, true
		case (trimmed[0] == ' ' || trimmed[0] == '\t') && last != "":
			h[last] += " " + strings.TrimSpace(trimmed)
		case headerName(trimmed) != "":
			name, value, _ := strings.Cut(trimmed, ":")
			last = strings.ToLower(name)
			h[last] = strings.TrimSpace(value)
		default:
			return h, pos, false
		}
		pos = next
	}
	return h, len(body), true
}

func startsHeader(body string) bool {
	line, _, _ := strings.Cut(strings.TrimLeft(body, "\r\n \t"), "\n")
	return headerName(line) != ""
}

// headerName answers the name of a header line that MIME parts may have, "" for anything else: `echo a: b` is none.
func headerName(line string) string {
	name, _, ok := strings.Cut(line, ":")
	name = strings.ToLower(name)
	if ok && (strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "x-") || name == "mime-version" || name == "merge-type" || name == "launch-index" ||
		name == "number-attachments" || name == "subject" || name == "from" || name == "to" || name == "date" || name == "message-id") && !strings.ContainsAny(name, " \t") {
		return name
	}
	return ""
}

// contentType answers type and parameters, also of headers that Go refuses: `boundary===B==` without quotes.
func (h header) contentType() (kind string, params map[string]string) {
	raw := h["content-type"]
	kind, params, err := mime.ParseMediaType(raw)
	if err == nil {
		return kind, params
	}
	kind, rest, _ := strings.Cut(raw, ";")
	params = map[string]string{}
	for one := range strings.SplitSeq(rest, ";") {
		if name, value, ok := strings.Cut(one, "="); ok {
			params[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return strings.ToLower(strings.TrimSpace(kind)), params
}

// mime reads a message, and the messages in it.
func (r *reader) mime(t text, depth int) {
	if depth > maxDepth {
		r.report(t.at(1, 1), document.Error, "MIME messages nested too deep, not read", "")
		return
	}
	for strings.HasPrefix(t.body, "\ufeff") {
		t = t.part(len("\ufeff"), len(t.body))
	}
	if i := strings.IndexFunc(t.body, func(c rune) bool { return c != '\n' && c != '\r' && c != ' ' && c != '\t' }); i > 0 {
		r.report(t.at(1, 1), document.Warning, "blank lines before the MIME header: some readers then see no header", "let the header be the first line")
		t = t.part(i, len(t.body))
	}
	h, start, _ := head(t.body)
	if len(h) == 0 {
		// An mbox's line is a part of the format; before anything else the header is not seen.
		i := mimeHeader.FindStringIndex(t.body)
		if i == nil {
			r.other(t)
			return
		}
		if before := strings.TrimSpace(t.body[:i[0]]); !strings.HasPrefix(before, "From ") || strings.Contains(before, "\n") {
			r.report(t.at(1, 1), document.Error, "text before the MIME header: cloud-init sees no header then, and reads none of the parts", "let the first line be: MIME-Version: 1.0")
		}
		t = t.part(i[0], len(t.body))
		h, start, _ = head(t.body)
	}
	kind, params := h.contentType()
	if !strings.HasPrefix(kind, "multipart/") {
		r.part(t, h, start, depth)
		return
	}
	boundary := params["boundary"]
	if boundary == "" {
		boundary = guessBoundary(t.body[start:])
		r.report(t.at(1, 1), document.Error, "the MIME header names no boundary", "write: Content-Type: multipart/mixed; boundary=\"==BOUNDARY==\"")
		if boundary == "" {
			return
		}
	}
	if other := guessBoundary(t.body[start:]); other != "" && !strings.HasPrefix(t.body[start:], "--"+boundary) && !strings.Contains(t.body[start:], "\n--"+boundary) {
		r.report(t.at(1, 1), document.Error, fmt.Sprintf("no part begins with the boundary %q that the MIME header names: cloud-init sees no parts; read as if it named %q", clip("--"+boundary), clip("--"+other)),
			fmt.Sprintf("write: boundary=%q", clip(other)))
		boundary = other
	}
	r.multipart(t, start, boundary, depth)
}

func guessBoundary(body string) string {
	for line := range strings.Lines(body) {
		if b, ok := strings.CutPrefix(strings.TrimRight(line, " \t\r\n"), "--"); ok && b != "" {
			return b
		}
	}
	return ""
}

// multipart parts the body at its boundaries.
func (r *reader) multipart(t text, start int, boundary string, depth int) {
	from, closed := -1, false
	pos := start
	end := func(to int) {
		if from >= 0 && r.parts < maxParts {
			r.parts++
			// The line break before a boundary belongs to it.
			body := t.body[from:to]
			body = strings.TrimSuffix(strings.TrimSuffix(body, "\n"), "\r")
			p := t.part(from, from+len(body))
			p.body = body
			h, s, blank := head(p.body)
			if !blank && s < len(p.body) {
				r.report(p.part(s, len(p.body)).at(1, 1), document.Warning, "no blank line between the header of this part and its text", "put an empty line before it")
			}
			p.name = fmt.Sprintf("part-%03d", r.parts)
			if name := fileName(h); name != "" {
				p.name = name
			}
			r.part(p, h, s, depth)
		}
	}
	for pos < len(t.body) && !closed {
		line, rest, _ := strings.Cut(t.body[pos:], "\n")
		next := len(t.body) - len(rest)
		switch strings.TrimRight(line, " \t\r") {
		case "--" + boundary:
			end(pos)
			from = next
		case "--" + boundary + "--":
			end(pos)
			from, closed = -1, true
		}
		pos = next
	}
	switch {
	case closed:
	case from < 0:
		r.report(t.at(1, 1), document.Error, fmt.Sprintf("no part begins with the boundary %q that the MIME header names", clip("--"+boundary)), "write the boundary of the header before each part")
	default:
		r.report(t.at(1, 1), document.Warning, "the closing boundary is missing: what was cut off is not known", fmt.Sprintf("end with %q", clip("--"+boundary+"--")))
		end(len(t.body))
	}
}

func fileName(h header) string {
	_, params, err := mime.ParseMediaType(h["content-disposition"])
	if err != nil {
		return ""
	}
	return params["filename"]
}

// part reads what stands in one part.
func (r *reader) part(t text, h header, start, depth int) {
	kind, _ := h.contentType()
	body := t.part(start, len(t.body))
	body.name = t.name
	switch how := strings.ToLower(h["content-transfer-encoding"]); how {
	case "", "7bit", "8bit", "binary":
	case "base64":
		plain, ok := decodeBase64(body.body)
		if !ok {
			r.report(body.at(1, 1), document.Error, "this part says that it is base64, but is not: it is read as it stands", "encode it, or remove its Content-Transfer-Encoding")
			break
		}
		body = body.decoded(nameOf(t.name), plain)
	case "quoted-printable":
		// What cannot be decoded stands as it is after what could.
		plain, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body.body)))
		if err != nil {
			r.report(body.at(1, 1), document.Warning, "this part is not quite quoted-printable", "encode it again")
		}
		body = body.decoded(nameOf(t.name), string(plain))
	default:
		r.report(t.at(1, 1), document.Warning, fmt.Sprintf("unknown Content-Transfer-Encoding %q, read as it stands", clip(how)), "use base64 or leave it out")
	}
	if strings.HasPrefix(body.body, "\x1f\x8b") {
		plain, err := gunzip(body.body)
		if err != nil {
			r.report(body.at(1, 1), document.Error, fmt.Sprintf("cannot be unpacked: %v", err), "pack it again with gzip")
			return
		}
		body = body.decoded("unpacked", plain)
	}
	if r.bytes += len(body.body); r.bytes > 4*maxBytes {
		r.report(t.at(1, 1), document.Error, "the parts are too large together, the rest is not read", "")
		return
	}
	if strings.TrimSpace(body.body) == "" {
		return
	}
	found := formOf(body.body)
	believed, known := types[kind]
	switch {
	case kind == fairleadType:
		r.take(body, isFairlead, depth+1)
	case strings.HasPrefix(kind, "multipart/"):
		r.mime(t, depth+1)
	case kind == "message/rfc822":
		r.unwrap(body, depth+1)
	case believed == isBoothook && found == isScript: // it needs no first line of its own where the header says what it is
		r.take(body, believed, depth+1)
	case known && believed != found && found != isOther && found != isMIME && found != isJinja:
		r.report(t.at(1, 1), document.Error, fmt.Sprintf("the part is a %s, but its Content-Type is %s: cloud-init believes that", found, kind),
			"write: Content-Type: "+typeOf(found))
		r.take(body, found, depth+1)
	case known && found == isOther && believed == isCloudConfig:
		r.report(body.at(1, 1), document.Warning, "cloud-config without #cloud-config as its first line", "let the first line be: #cloud-config")
		r.take(body, believed, depth+1)
	case known && found == isOther:
		r.report(body.at(1, 1), document.Error, fmt.Sprintf("the Content-Type says %s, but the first line is not one of a %s: cloud-init cannot run it", kind, believed),
			"let the first line be: #!/bin/bash")
		r.take(body, believed, depth+1)
	case known, kind == "", judged[kind], strings.Contains(kind, "gzip"):
		r.unwrap(body, depth+1)
	case strings.Contains(kind, "fairlead"):
		r.report(t.at(1, 1), document.Error, fmt.Sprintf("the type %q is not known", kind), "write: Content-Type: "+fairleadType)
		r.take(body, isFairlead, depth+1)
	case found == isScript || found == isCloudConfig || found == isBoothook:
		r.report(t.at(1, 1), document.Error, fmt.Sprintf("the part is a %s, but its Content-Type is %q: cloud-init skips it", found, clip(kind)), "write: Content-Type: "+typeOf(found))
	}
}

// types that cloud-init believes, whatever the text says.
var types = map[string]form{
	"text/cloud-config": isCloudConfig, "text/cloud-boothook": isBoothook, "text/cloud-config-archive": isArchive, "text/x-include-url": isInclude,
	"text/x-include-once-url": isInclude, "text/upstart-job": isUpstart, "text/part-handler": isHandler, "text/jinja2": isJinja, "text/x-shellscript": isScript,
}

// judged are those whose text decides.
var judged = map[string]bool{"text/plain": true, "text/x-not-multipart": true, "text/x-shellscript-per-boot": true, "text/x-shellscript-per-instance": true, "text/x-shellscript-per-once": true, "application/json": true, "application/toml": true}

func typeOf(f form) string {
	for kind, of := range types {
		if of == f {
			return kind
		}
	}
	return "text/plain"
}

func nameOf(part string) string {
	if part == "" {
		return "decoded"
	}
	return part + ", decoded"
}

// clip keeps a quotation short.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
