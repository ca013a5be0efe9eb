package ecsconfig

import (
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/loose"
)

// line is a line of the file, or of what a script appends to it.
type line struct {
	raw     string // as it stands
	at      document.Place
	script  bool   // from a script, not in the file
	key     string // empty: a comment, a blank line, or one that says nothing
	value   string
	gone    bool // not to be written
	twisted bool // key and value are not what ecs-init would read
	verdict verdict
}

var (
	exported  = regexp.MustCompile(`^((export|set|declare|env)\s+)+`)
	keyish    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	noEquals  = regexp.MustCompile(`^((?:AWS|ECS|NON_?ECS)_[A-Z0-9_]+|DOCKER_HOST|(?:HTTPS?|NO)_PROXY)\s*([:\s]\s*\S|$)`)
	invisible = strings.NewReplacer("\ufeff", "", "\u00a0", " ", "\u200b", "", "\u2060", "")
)

// read takes a line apart as ecs-init does, except where that would miss what was plainly meant.
func (l *line) read(say func(note)) {
	text := strings.Trim(l.raw, " \t\r\n\v\f")
	if clean := strings.TrimSpace(invisible.Replace(text)); clean != text {
		if strings.HasPrefix(text, "\ufeff") {
			say(note{document.Error, "a byte order mark stands before the line: ecs-init takes it for a part of the name; corrected", "save the file without one"})
		} else if strings.Contains(clean, "=") {
			say(note{document.Error, "the line holds blanks that are no blanks (copied from a web page?); corrected", "type it anew"})
		}
		text, l.twisted = clean, true
	}
	if text == "" || text[0] == '#' || text[0] == ';' {
		return
	}
	if bare := loose.Unquote(loose.Straight(text)); isQuoted(text) && strings.Contains(bare, "=") {
		say(note{document.Error, "quotes stand round the whole line: ecs-init takes them for parts of name and value; corrected", "write the line without them"})
		text, l.twisted = bare, true
	}
	if m := exported.FindString(text); m != "" && strings.Contains(text, "=") {
		say(note{document.Error, "\"" + strings.TrimSpace(m) + "\" before a setting: no reader knows it, the setting has no effect; corrected", "write NAME=value alone"})
		text, l.twisted = text[len(m):], true
	}
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		if m := noEquals.FindStringSubmatch(text); m != nil {
			say(note{document.Error, m[1] + " without a =: ecs-init drops the line without a word", "write " + m[1] + "=VALUE"})
		}
		return
	}
	key := strings.TrimSpace(name)
	if key == "" {
		say(note{document.Error, "a value without a name: Docker refuses it, and the agent's container cannot be made; left out", "remove the line, or write the name before the ="})
		l.gone = true
		return
	}
	l.key, l.value = key, value
	if known := keyish.MatchString(key); known && name != key {
		say(note{document.Error, key + ": ecs-init takes the blank before the = for a part of the name, the setting has no effect; corrected", "write no blanks round the ="})
		l.twisted = true
		l.value = strings.TrimSpace(value)
	}
}

// written is a line break as it was written by an echo that was not told to make one of it.
var written = regexp.MustCompile(`\\n((?:AWS|ECS|NON_?ECS)_[A-Z0-9_]+=)`)

// parted are the lines that a line was meant to be.
func parted(l line, report func(document.Place, note)) []line {
	text := written.ReplaceAllString(l.raw, "\n$1")
	if text == l.raw || strings.HasPrefix(strings.TrimSpace(text), "#") {
		return []line{l}
	}
	report(l.at, note{document.Error, "a line break written as \\n: no reader makes one of it; corrected", "write each setting on a line of its own (echo -e, printf or a here-document)"})
	var out []line
	for raw := range strings.SplitSeq(text, "\n") {
		l.raw, l.twisted = raw, true
		out = append(out, l)
	}
	return out
}

// readFile parts the text of a file into lines. The text need not end with a newline.
func readFile(file string, text []byte) []line {
	if len(text) == 0 {
		return nil
	}
	var out []line
	for i, raw := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		out = append(out, line{raw: raw, at: document.Place{File: file, Line: i + 1, Column: 1}})
	}
	return out
}

// Effective is what ecs-init gives the agent of a file: the last of equal names, by its own rules. Names that the agent could not ask for are
// left out: a comment with a = in it is one.
func Effective(text []byte) map[string]string {
	m := map[string]string{}
	for raw := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		if name, value, ok := strings.Cut(strings.TrimSpace(raw), "="); ok && (keyish.MatchString(name) || name == "") {
			m[name] = value
		}
	}
	return m
}

// maxJoined bounds how many lines a value may be spread over.
const maxJoined = 50

// join puts a JSON value that is spread over lines on one: no reader would see more than its first.
func join(list []line, report func(document.Place, note)) []line {
	for i := range list {
		l := &list[i]
		if !strings.HasPrefix(table()[l.key].Type, "json") || !strings.HasPrefix(strings.TrimSpace(l.value), "{") && !strings.HasPrefix(strings.TrimSpace(l.value), "[") {
			continue
		}
		if _, _, err := firstValue(l.value); err == nil {
			continue
		}
		value := l.value
		for j := i + 1; j < len(list) && j <= i+maxJoined && !keyish.MatchString(list[j].key) && !list[j].gone; j++ {
			value += " " + strings.TrimSpace(list[j].raw)
			first, rest, err := firstValue(value)
			if err != nil || strings.TrimSpace(rest) != "" {
				continue
			}
			l.value, l.twisted = first, true
			for k := i + 1; k <= j; k++ {
				list[k].key, list[k].gone = "", true
			}
			report(l.at, note{document.Error, l.key + ": the value is spread over lines, of which the agent sees only the first; corrected", "write it on one line"})
			break
		}
	}
	return list
}
