package userdata

import (
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/edit"
)

// What only the running script can know stands in texts as a marker, between two characters that Unicode leaves to private
// use; it holds what the script says there ($REGION), its blanks as a third one, so that it stays one word.
const (
	markOpen, markShut, markBlank = "\ue0f0", "\ue0f1", "\ue0f2"
)

func marker(source string) string {
	source = strings.NewReplacer(" ", markBlank, "\t", markBlank, "\n", markBlank, markOpen, "", markShut, "").Replace(clip(source))
	return markOpen + source + markShut
}

func isUnknown(s string) bool { return strings.Contains(s, markOpen) }

var holes = regexp.MustCompile(markOpen + "([^" + markShut + "]*)" + markShut)

// hole is what the script says in place of the first unknown of s.
func hole(s string) string {
	if m := holes.FindStringSubmatch(s); m != nil {
		return strings.ReplaceAll(m[1], markBlank, " ")
	}
	return "a value"
}

// chunk is a piece of what a script writes, in the order of writing; a line may come in several.
type chunk struct {
	text     string
	at       document.Place
	truncate bool
	rising   bool // each further line of text stands a line further down
	once     bool // not at each boot, wherever it stands
}

// lines puts the chunks together to lines, and leaves out those that only the script can know.
func (r *reader) lines(chunks []chunk) []edit.Line {
	var out []edit.Line
	var open strings.Builder
	var at document.Place
	end := func() {
		if line := open.String(); !isUnknown(line) {
			out = append(out, edit.Line{Text: line, At: at})
		} else {
			r.left(at, line)
		}
		open.Reset()
	}
	for _, c := range chunks {
		if c.truncate {
			open.Reset()
			if len(out) > 0 && !out[len(out)-1].Truncate {
				r.dropped(c.at, out)
			}
			out = append(out, edit.Line{Truncate: true, At: c.at})
			continue
		}
		for line := range strings.Lines(c.text) {
			if open.Len() == 0 {
				at = c.at
			}
			whole := strings.HasSuffix(line, "\n")
			open.WriteString(strings.TrimSuffix(line, "\n"))
			if whole {
				end()
			}
			if c.rising {
				c.at.Line++
			}
		}
	}
	if open.Len() > 0 {
		end()
	}
	return out
}

// left says that a line is the script's own affair.
func (r *reader) left(at document.Place, line string) {
	what := "a line"
	if key, _, ok := strings.Cut(line, "="); ok && !isUnknown(key) && isKey(key) {
		what = key
	}
	r.report(at, document.Warning, what+" depends on "+hole(line)+", which is known only when the script runs: left to the script", "")
}

// dropped says what > throws away of what the user data itself wrote before.
func (r *reader) dropped(at document.Place, before []edit.Line) {
	var keys []string
	for i := len(before) - 1; i >= 0 && !before[i].Truncate && len(keys) < 3; i-- {
		if key, _, ok := strings.Cut(before[i].Text, "="); ok && isKey(key) {
			keys = append([]string{key}, keys...)
		}
	}
	if len(keys) > 0 {
		r.report(at, document.Error, "> empties the file: "+strings.Join(keys, ", ")+", written before, is lost", "write >> instead of >")
	}
}

var keyName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func isKey(s string) bool { return keyName.MatchString(strings.TrimSpace(s)) }
