package document

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/size"
)

func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		name    string
		environ []string
		want    func(*sample)
	}{
		{"others are not ours", []string{"PATH=/bin", "TT_NAMES=a", "t_names=a"}, func(*sample) {}},
		{"single values", []string{"T_SECTION_TEXT=5", "T_SECTION_ON=true", "T_SECTION_WAIT=5s", "T_SECTION_MAX_BYTES=1GiB"}, func(s *sample) {
			s.Section.Text, s.Section.On, s.Section.Wait, s.Section.MaxBytes = "5", true, 5*time.Second, size.GiB
		}},
		{"a text is taken as it is", []string{`T_SECTION_TEXT={{.Name}}: "x" # y`}, func(s *sample) { s.Section.Text = `{{.Name}}: "x" # y` }},
		{"an empty text", []string{"T_SECTION_TEXT="}, func(s *sample) { s.Section.Text = "" }},
		{"a list with commas", []string{"T_NAMES=a:1, b:2"}, func(s *sample) { s.Inner.Names = []string{"a:1", "b:2"} }},
		{"a list as JSON", []string{`T_NAMES=["a:1","b,2"]`}, func(s *sample) { s.Inner.Names = []string{"a:1", "b,2"} }},
		{"an empty list", []string{"T_NAMES="}, func(s *sample) { s.Inner.Names = []string{} }},
		{"a list of maps", []string{"T_LIST=[{path: /a, fold: true}]"}, func(s *sample) { s.List = []entry{{"/a", yes()}} }},
		{"a section, and a key of it", []string{"T_SECTION_COUNT=2", `T_SECTION={"text": "x", "count": 1}`}, func(s *sample) {
			s.Section.Text, s.Section.Count = "x", 2
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, want := defaults(), defaults()
			c.want(&want)
			r := NewReader(&got)
			r.Environment("T_", c.environ)
			if len(r.Findings()) > 0 {
				t.Errorf("findings: %q", lines(r))
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestEnvironmentFindings(t *testing.T) {
	v := defaults()
	r := NewReader(&v)
	r.Document("d1", []byte("section: {count: x}\n"))
	n := r.Environment("T_", []string{
		"T_NAME=a", "T_SECTION_WAIT=5", "T_SECTION_COUNT=", "T_LIST=/a", "T_LIST_LIMIT=5", "T_SECTION=",
		"T_ZZZZZZZZZZZZZZZZZZZZZZZZZZZ=1",
	})
	want := []string{
		`d1:1:11: error: section.count: "x" is not a whole number`,
		"environment T_LIST: error: list: a list is wanted, not a text (fix: write each entry on a line of its own after a dash)",
		"environment T_LIST_LIMIT: error: no such key",
		"environment T_NAME: error: no such key (fix: did you mean T_NAMES?)",
		"environment T_SECTION: error: section: no value",
		`environment T_SECTION_COUNT: error: section.count: "" is not a whole number`,
		`environment T_SECTION_WAIT: error: section.wait: "5" is not a duration (fix: did you mean "5s"?)`,
		"environment T_ZZZZZZZZZZZZZZZZZZZZZZZZZZZ: error: no such key",
	}
	if got := lines(r); n != 7 || !reflect.DeepEqual(got, want) {
		t.Errorf("%d variables, got:\n%s\nwant:\n%s", n, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
