// Package parse turns the lines of the log formats found on an ECS instance into time, stream and text. It is pure: it opens
// nothing, keeps nothing between calls, and never fails by losing a line: what is not in its format is the caller's to
// pass on as text.
package parse

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Record is one record of a Docker json-file.
type Record struct {
	Text    []byte // the text without its closing newline; lies in the line given or in the scratch returned
	Stream  string // "stdout" or "stderr"; another engine's name as it stands
	Time    int64  // Unix nanoseconds
	Partial bool   // the text had no closing newline: the stream's next record with the same Time goes on with the line
}

// Constants, which are compared in a word or two without a call.
const (
	logKey    = `{"log":"`
	streamKey = `,"stream":"`
	stdoutEnd = `stdout","time":"`
	stderrEnd = `stderr","time":"`
	attrsKey  = `,"attrs":{`
	timeKey   = `,"time":"`
)

func begins(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }

// Decoder decodes the records of one log after another. The zero value is ready. It remembers the last second it met, because the
// records of a busy log share it.
type Decoder struct{ last second }

// JSONFile decodes a single line as Decoder.JSONFile does.
func JSONFile(line, scratch []byte) (rec Record, grown []byte, ok bool) {
	var d Decoder
	return d.JSONFile(line, scratch)
}

// JSONFile decodes a line of Docker's json-file driver, given without its newline. Escaped text is written behind scratch, which
// is returned grown; text without escapes is a slice of line. ok is false where the line is not such a record: then nothing is
// known of it and line is as it was.
//
// The engine writes the keys in the order log, stream, attrs, time, and no blanks; that form is decoded by hand, because the
// common line (no escape but the closing \n) then costs two searches and no copy. Any other JSON object with these keys
// goes through encoding/json.
func (d *Decoder) JSONFile(line, scratch []byte) (rec Record, grown []byte, ok bool) {
	if len(line) > len(logKey) && begins(line, logKey) {
		if grown, ok = d.engineRecord(&rec, line[len(logKey):], scratch); ok {
			return rec, grown, true
		}
	}
	rec, ok = anyRecord(line)
	return rec, scratch, ok
}

func (d *Decoder) engineRecord(rec *Record, body, scratch []byte) ([]byte, bool) {
	esc := bytes.IndexByte(body, '\\')
	var rest []byte
	if esc >= 0 && esc+2 < len(body) && body[esc+1] == 'n' && body[esc+2] == '"' && bytes.IndexByte(body[:esc], '"') < 0 {
		rec.Text, rest = body[:esc], body[esc+3:]
	} else {
		text, grown, after, ok := unescape(body, esc, scratch)
		if !ok {
			return scratch, false
		}
		scratch, rest = grown, after
		if n := len(text); n > 0 && text[n-1] == '\n' {
			rec.Text = text[:n-1]
		} else {
			rec.Text, rec.Partial = text, true
		}
	}
	if !begins(rest, streamKey) {
		return scratch, false
	}
	rest = rest[len(streamKey):]
	switch {
	case begins(rest, stdoutEnd):
		rec.Stream, rest = "stdout", rest[len(stdoutEnd):]
	case begins(rest, stderrEnd):
		rec.Stream, rest = "stderr", rest[len(stderrEnd):]
	default:
		if rest, rec.Stream = streamAndAttrs(rest); rest == nil {
			return scratch, false
		}
	}
	n := len(rest)
	if n < 3 || rest[n-1] != '}' || rest[n-2] != '"' {
		return scratch, false
	}
	var ok bool
	rec.Time, ok = d.last.time(rest[:n-2])
	return scratch, ok
}

// streamAndAttrs reads `stdout","attrs":{...},"time":"` (the options labels, env and tag of the driver add attrs) and returns what
// follows; nil if that is not what stands there.
func streamAndAttrs(rest []byte) ([]byte, string) {
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return nil, ""
	}
	var stream string
	switch string(rest[:end]) {
	case "stdout":
		stream = "stdout"
	case "stderr":
		stream = "stderr"
	default:
		return nil, ""
	}
	rest = rest[end+1:]
	if begins(rest, attrsKey) {
		rest = rest[len(attrsKey):]
		inString := false
		i := 0
	scan:
		for ; i < len(rest); i++ {
			switch c := rest[i]; {
			case c == '\\' && inString:
				i++
			case c == '"':
				inString = !inString
			case c == '}' && !inString:
				break scan
			case c == '{' && !inString:
				return nil, ""
			}
		}
		if i >= len(rest) {
			return nil, ""
		}
		rest = rest[i+1:]
	}
	if !begins(rest, timeKey) {
		return nil, ""
	}
	return rest[len(timeKey):], stream
}

// unescape undoes the JSON string that begins at body (behind its opening quote) up to its closing quote; esc is the index of its
// first backslash, -1 if there is none. It returns the text, scratch grown, and what follows the quote.
func unescape(body []byte, esc int, scratch []byte) (text, grown, rest []byte, ok bool) {
	start := len(scratch)
	for {
		run := body
		if esc >= 0 {
			run = body[:esc]
		}
		if q := bytes.IndexByte(run, '"'); q >= 0 {
			if start == len(scratch) {
				return body[:q], scratch, body[q+1:], true // no escape at all: the text is where it was
			}
			scratch = append(scratch, body[:q]...)
			return scratch[start:], scratch, body[q+1:], true
		}
		if esc < 0 || esc+1 >= len(body) {
			return nil, scratch[:start], nil, false
		}
		scratch = append(scratch, run...)
		n := 2
		switch c := body[esc+1]; c {
		case '"', '\\', '/':
			scratch = append(scratch, c)
		case 'n':
			scratch = append(scratch, '\n')
		case 'r':
			scratch = append(scratch, '\r')
		case 't':
			scratch = append(scratch, '\t')
		case 'b':
			scratch = append(scratch, '\b')
		case 'f':
			scratch = append(scratch, '\f')
		case 'u':
			r, size := unicodeEscape(body[esc:])
			if size == 0 {
				return nil, scratch[:start], nil, false
			}
			scratch, n = utf8.AppendRune(scratch, r), size
		default:
			return nil, scratch[:start], nil, false
		}
		body = body[esc+n:]
		esc = bytes.IndexByte(body, '\\')
	}
}

// unicodeEscape reads \uXXXX, or two of them that form a surrogate pair; half a pair is U+FFFD, as in encoding/json. size is 0 where
// that is not what stands there.
func unicodeEscape(b []byte) (r rune, size int) {
	hi, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if hi < 0xD800 || hi > 0xDFFF {
		return hi, 6
	}
	if lo, ok := hex4(b[6:]); ok && hi < 0xDC00 && lo >= 0xDC00 && lo <= 0xDFFF {
		return (hi-0xD800)<<10 + (lo - 0xDC00) + 0x10000, 12
	}
	return utf8.RuneError, 6
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// anyRecord reads what the common form does not cover: other key orders, blanks, other stream names.
func anyRecord(line []byte) (Record, bool) {
	var v struct {
		Log    *string    `json:"log"`
		Stream string     `json:"stream"`
		Time   *time.Time `json:"time"`
	}
	if len(line) == 0 || line[0] != '{' || json.Unmarshal(line, &v) != nil || v.Log == nil || v.Time == nil {
		return Record{}, false
	}
	rec := Record{Text: []byte(*v.Log), Stream: v.Stream, Time: v.Time.UnixNano()}
	if n := len(rec.Text); n > 0 && rec.Text[n-1] == '\n' {
		rec.Text = rec.Text[:n-1]
	} else {
		rec.Partial = true
	}
	return rec, true
}

// Salvage finds a record behind garbage in a line that JSONFile refuses: after a power loss a line may begin with the cut end of
// another one or with a run of NUL bytes. It returns the garbage, to be passed on as text, and the record's line; nil where
// there is none.
func Salvage(line []byte) (garbage, record []byte) {
	i := bytes.LastIndex(line, []byte(logKey))
	if i <= 0 {
		return line, nil
	}
	return line[:i], line[i:]
}
