package document

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/size"
)

// sample has one key of each kind.
type sample struct {
	Inner   inner   `yaml:",inline"`
	Section section `yaml:"section"`
	List    []entry `yaml:"list"`
	hidden  int
}

type inner struct {
	Names []string `yaml:"names"`
}

type section struct {
	Text     string        `yaml:"text"`
	On       bool          `yaml:"on"`
	Count    int           `yaml:"count"`
	Rate     float64       `yaml:"rate"`
	Wait     time.Duration `yaml:"wait"`
	MaxBytes size.Bytes    `yaml:"max_bytes"`
	Key      Secret        `yaml:"key"`
}

type entry struct {
	Path string `yaml:"path"`
	Fold *bool  `yaml:"fold"`
}

func defaults() sample {
	return sample{Inner: inner{Names: []string{"default"}}, Section: section{Text: "default", Wait: time.Second}, hidden: 1}
}

// read reads documents d1, d2, ... and answers the value and the findings as lines.
func read(t *testing.T, texts ...string) (sample, []string) {
	t.Helper()
	v := defaults()
	r := NewReader(&v)
	for i, text := range texts {
		r.Document(fmt.Sprintf("d%d", i+1), []byte(text))
	}
	return v, lines(r)
}

func lines(r *Reader) []string {
	var list []string
	for _, f := range r.Findings() {
		list = append(list, f.String())
	}
	return list
}

func yes() *bool { b := true; return &b }

func TestValues(t *testing.T) {
	for _, c := range []struct {
		name  string
		texts []string
		want  func(*sample)
	}{
		{"nothing", []string{""}, func(*sample) {}},
		{"comments only", []string{"# section:\n"}, func(*sample) {}},
		{"a mark and nothing", []string{"---\n"}, func(*sample) {}},
		{"a section without keys", []string{"section:\nlist:\n"}, func(*sample) {}},
		{"every kind", []string{"section: {text: a b, on: true, count: -3, rate: 1.5, wait: 1m30s, max_bytes: 64MiB}\n"}, func(s *sample) {
			s.Section = section{"a b", true, -3, 1.5, 90 * time.Second, 64 * size.MiB, ""}
		}},
		{"numbers without a unit", []string{"section: {wait: 0, max_bytes: 4096, rate: 2}\n"}, func(s *sample) {
			s.Section.Wait, s.Section.MaxBytes, s.Section.Rate = 0, 4096, 2
		}},
		{"in quotes", []string{"\"section\": {text: \"5\", on: \"true\", wait: '5s'}\n"}, func(s *sample) {
			s.Section.Text, s.Section.On, s.Section.Wait = "5", true, 5*time.Second
		}},
		{"a list", []string{"names:\n- a\n- b\n"}, func(s *sample) { s.Inner.Names = []string{"a", "b"} }},
		{"addresses in brackets", []string{"names: [a:1, 127.0.0.1:2, tls://a:3]\n"}, func(s *sample) {
			s.Inner.Names = []string{"a:1", "127.0.0.1:2", "tls://a:3"}
		}},
		{"addresses in brackets in braces", []string{"{names: [a:1, 127.0.0.1:2, tls://a:3, \"q:4\", ], section: {text: b:1}}\n"}, func(s *sample) {
			s.Inner.Names, s.Section.Text = []string{"a:1", "127.0.0.1:2", "tls://a:3", "q:4"}, "b:1"
		}},
		{"an empty list", []string{"names: []\n"}, func(s *sample) { s.Inner.Names = []string{} }},
		{"one entry without brackets", []string{"names: a\n"}, func(s *sample) { s.Inner.Names = []string{"a"} }},
		{"a list of maps", []string{"list:\n  - path: /a\n  - {path: /b, fold: true}\n"}, func(s *sample) {
			s.List = []entry{{Path: "/a"}, {"/b", yes()}}
		}},
		{"lines of text", []string{"section:\n  text: |\n    a\n    b\n"}, func(s *sample) { s.Section.Text = "a\nb\n" }},
		{"CRLF and a byte order mark", []string{"\xef\xbb\xbfsection:\r\n  text: a\r\n  count: 1\r\n"}, func(s *sample) {
			s.Section.Text, s.Section.Count = "a", 1
		}},
		{"anchors", []string{"section: {text: &x shared}\nnames: [*x, b]\n"}, func(s *sample) {
			s.Section.Text, s.Inner.Names = "shared", []string{"shared", "b"}
		}},
		{"merged in", []string{"list:\n- &a {path: /a, fold: true}\n- {<<: *a, path: /b}\n"}, func(s *sample) {
			s.List = []entry{{"/a", yes()}, {"/b", yes()}}
		}},
		{"maps merge, lists are replaced", []string{
			"section: {text: a, count: 1}\nnames: [a, b, c]\n", "section: {count: 2}\nnames: [d]\n",
		}, func(s *sample) {
			s.Section.Text, s.Section.Count, s.Inner.Names = "a", 2, []string{"d"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := defaults()
			c.want(&want)
			got, findings := read(t, c.texts...)
			if len(findings) > 0 {
				t.Errorf("findings:\n%s", strings.Join(findings, "\n"))
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"unknown key, near", "section:\n  wait: 1s\n  cuont: 3\n", []string{`d1:3:3: error: section.cuont: unknown key (fix: did you mean "count"?)`}},
		{"unknown key, elsewhere", "max_bytes: 1\n", []string{`d1:1:1: error: max_bytes: unknown key (fix: did you mean "section.max_bytes"?)`}},
		{"unknown key, nothing like it", "list:\n- zzzzzz: 1\n", []string{"d1:2:3: error: list[0].zzzzzz: unknown key (fix: known here: fold, path)"}},
		{"dashes for underscores", "section: {max-bytes: 1}\n", []string{`d1:1:11: error: section.max-bytes: unknown key (fix: did you mean "max_bytes"?)`}},
		{"a hidden field is no key", "hidden: 1\n", []string{"d1:1:1: error: hidden: unknown key (fix: known here: list, names, section)"}},
		{"all of them", "section:\n  wait: 5\n  on: maybe\n  max_bytes: 64MB\n  count: many\nlst: []\n", []string{
			`d1:2:3: error: section.wait: "5" is not a duration (fix: did you mean "5s"?)`,
			`d1:3:3: error: section.on: "maybe" is neither true nor false (fix: write true or false)`,
			`d1:4:3: error: section.max_bytes: "64MB" is not a size: use a whole number of bytes, or one with KiB, MiB, GiB or TiB (as 512MiB) (fix: did you mean "64MiB"?)`,
			`d1:5:3: error: section.count: "many" is not a whole number`,
			`d1:6:1: error: lst: unknown key (fix: did you mean "list"?)`,
		}},
		{"negative", "section: {wait: -5s}\n", []string{`d1:1:11: error: section.wait: "-5s" is negative (fix: write "5s")`}},
		{"days", "section: {wait: 2d}\n", []string{`d1:1:11: error: section.wait: "2d" is not a duration (fix: did you mean "48h"?)`}},
		{"a duration that is none", "section: {wait: soon}\n", []string{
			`d1:1:11: error: section.wait: "soon" is not a duration (fix: write a number with its unit, as 500ms, 30s, 5m or 1h30m)`}},
		{"yes", "section: {on: yes}\n", []string{`d1:1:11: error: section.on: "yes" is neither true nor false (fix: write true)`}},
		{"a number for a text", "section: {text: 010}\n", []string{`d1:1:11: error: section.text: 010 is a number, a text is wanted (fix: write it in quotes: "010")`}},
		{"too large", "section: {count: 99999999999999999999}\n", []string{`d1:1:11: error: section.count: "99999999999999999999" is not a whole number`}},
		{"a list for a value", "section: {text: [a]}\n", []string{"d1:1:11: error: section.text: a single value is wanted, not a list"}},
		{"a map for a value", "section: {text: {a: b}}\n", []string{"d1:1:11: error: section.text: a single value is wanted, not a map"}},
		{"a map for a list", "list: {path: /a}\n", []string{"d1:1:1: error: list: a list is wanted, not a map (fix: write each entry on a line of its own after a dash)"}},
		{"a text for a list of maps", "list: /a\n", []string{"d1:1:1: error: list: a list is wanted, not a text (fix: write each entry on a line of its own after a dash)"}},
		{"a text for a section", "section: on\n", []string{"d1:1:1: error: section: a map of keys is wanted, not a text"}},
		{"a list for the document", "- a\n", []string{"d1:1:1: error: the document: a map of keys is wanted, not a list"}},
		{"an empty entry", "names:\n- a\n-\n", []string{"d1:3:3: error: names[1]: an entry without a value (fix: remove it)"}},
		{"twice", "section: {text: a}\nnames: []\nsection: {count: x}\n", []string{"d1:3:1: error: section: given twice, first in line 1 (fix: keep one of them)"}},
		{"a tab", "section:\n\ttext: a\n", []string{"d1:2:1: error: found character '\t' that cannot start any token (fix: indent with blanks, not with tabs)"}},
		{"a bracket left open", "names: [a\n", []string{"d1:1:8: error: sequence end token ']' not found"}},
		{"not UTF-8", "section:\n  text: a\xff\n", []string{"d1:2:10: error: not valid UTF-8 (fix: save the file as UTF-8)"}},
		{"two documents", "names: [a]\n---\nnames: [b]\n", []string{
			"d1:3:1: error: a second document in one file (fix: write each into a file of its own below conf.d, or remove the ---)"}},
		{"no such anchor", "section: {text: *a}\n", []string{"d1:1:11: error: section.text: no anchor &a"}},
		{"an anchor in itself", "names: &a [*a]\n", []string{"d1:1:12: error: names[0]: a single value is wanted, not a list"}},
		{"a map merged into itself", "section: &a {<<: *a}\n", []string{"d1:1:14: error: section: the anchor &a holds itself"}},
		{"a tag", "section: {text: !!str 5}\n", []string{"d1:1:11: error: section.text: the tag !!str has no meaning here (fix: remove the tag)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got := read(t, c.text)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestSecretsAreNotQuoted(t *testing.T) {
	for _, text := range []string{"section: {key: [hunter2]}", "section: {key: {fil: hunter2}}", "section: {kye: hunter2}"} {
		_, got := read(t, text)
		if all := strings.Join(got, "\n"); len(got) == 0 || strings.Contains(all, "hunter2") || strings.Contains(all, "123456") {
			t.Errorf("%s: findings %q", text, got)
		}
	}
}

// What a Validate complains of is put to the line that said it, in whichever document that was last.
func TestInvalid(t *testing.T) {
	v := defaults()
	r := NewReader(&v)
	r.Document("d1", []byte("section:\n  text: a\n  wait: 1s\nlist:\n- path: /a\n- path: /b\nnames: [a, b, c]\n"))
	r.Document("d2", []byte("section: {wait: 5s}\nnames: [x]\n"))
	r.Environment("T_", []string{"T_SECTION_COUNT=7"})
	r.Invalid(errors.Join(
		errors.New("section.wait: 5s is too long"),
		errors.Join(errors.New("section.text: nothing good"), errors.New("section.count: 7 is odd")),
		errors.New("list[1].path: /b is not there"),
		errors.New("list[0].fold: needs a path"),
		errors.New("names[2]: gone"),
		errors.New("section.rate: the default is wrong"),
		errors.New("nowhere.to.be.found: x"),
		errors.New("no key at all"),
		nil,
	), "main")
	want := []string{
		"d1:2:3: error: section.text: nothing good",
		"d1:5:3: error: list[0].fold: needs a path",
		"d1:6:3: error: list[1].path: /b is not there",
		"d2:1:11: error: section.wait: 5s is too long",
		"d2:2:1: error: names[2]: gone",
		"environment T_SECTION_COUNT: error: section.count: 7 is odd",
		"main: error: section.rate: the default is wrong",
		"main: error: nowhere.to.be.found: x",
		"main: error: no key at all",
	}
	if got := lines(r); !reflect.DeepEqual(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A Validate that names only the first fault is asked until it has named all.
func TestValidate(t *testing.T) {
	v := defaults()
	r := NewReader(&v)
	r.Document("d1", []byte("section: {count: 7, text: bad, wait: 2s}\nlist: [{path: a}, {path: b}]\n"))
	r.Validate(func() error {
		switch {
		case v.Section.Count != 0:
			return fmt.Errorf("section.count: %d is not 0", v.Section.Count)
		case v.Section.Text == "bad":
			return errors.New("section.text: is bad")
		case len(v.List) > 0:
			return errors.New("list[1].path: b is taken")
		case v.Section.Rate == 0:
			return errors.New("section.rate: the default is wrong")
		}
		return nil
	}, "main")
	want := []string{"d1:1:11: error: section.count: 7 is not 0", "d1:1:21: error: section.text: is bad", "d1:2:20: error: list[1].path: b is taken",
		"main: error: section.rate: the default is wrong"}
	if got := lines(r); !reflect.DeepEqual(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
