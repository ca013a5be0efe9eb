package loose

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	for text, want := range map[string]string{
		`["json-file","awslogs"]`:       `["json-file","awslogs"]`,
		`["json-file", "awslogs"]`:      `["json-file","awslogs"]`,
		`[json-file,awslogs]`:           `["json-file","awslogs"]`,
		`[json-file, awslogs]`:          `["json-file","awslogs"]`,
		`["fluentd\"]`:                  `["fluentd"]`,
		`[fluentd"]`:                    `["fluentd"]`,
		`'["json-file","awslogs"]'`:     `["json-file","awslogs"]`,
		`"[\"json-file\",\"awslogs\"]"`: `["json-file","awslogs"]`,
		`[\"json-file\",\"awslogs\"]`:   `["json-file","awslogs"]`,
		`['json-file','awslogs']`:       `["json-file","awslogs"]`,
		`[“json-file”,”awslogs“]`:       `["json-file","awslogs"]`,
		`[]`:                            `[]`,
		`json-file,awslogs`:             "",
		`["json-file","awslogs"`:        "",
		`[json-file,[awslogs]]`:         "",
		`[json-file,,awslogs]`:          "",
		`{"a":"b"}`:                     "",
		`["a"] ["b"]`:                   "",
	} {
		if got, ok := List(text, false); got != want || ok != (want != "") {
			t.Errorf("List(%s) = %q, %v, want %q", text, got, ok, want)
		}
	}
	for text, want := range map[string]string{`[22, 80]`: "[22,80]", `'[22]'`: "[22]", `["22","x"`: "", `[22,x]`: "", `[2 2]`: "", `['22']`: "[22]"} {
		if got, _ := List(text, true); got != want {
			t.Errorf("List(%s) of numbers = %q, want %q", text, got, want)
		}
	}
}

func TestObject(t *testing.T) {
	for text, want := range map[string]string{
		`{"stack": "prod"}`:        `{"stack":"prod"}`,
		`{stack:prod}`:             `{"stack":"prod"}`,
		`{stack: prod, tier: web}`: `{"stack":"prod","tier":"web"}`,
		`'{"stack":"prod"}'`:       `{"stack":"prod"}`,
		`{\"stack\":\"prod\"}`:     `{"stack":"prod"}`,
		`{“stack”:“prod”}`:         `{"stack":"prod"}`,
		`{url:http://x}`:           `{"url":"http://x"}`,
		`{stack}`:                  "",
		`stack:prod`:               "",
		`{a:{b:c}}`:                "",
		`{`:                        "",
	} {
		if got, ok := Object(text); got != want || ok != (want != "") {
			t.Errorf("Object(%s) = %q, %v, want %q", text, got, ok, want)
		}
	}
}

// Whatever comes out is JSON on one line without blanks between its tokens, and comes out of itself.
func FuzzLoose(f *testing.F) {
	for _, text := range []string{`["a\"]`, `[a,b]`, `'["a"]'`, `{a:b}`, `“[”`, `"\"[a]\""`, "[a\n]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, read := range map[string]func(string) (string, bool){
			"list":    func(s string) (string, bool) { return List(s, false) },
			"numbers": func(s string) (string, bool) { return List(s, true) },
			"object":  Object,
		} {
			got, ok := read(text)
			if !ok {
				continue
			}
			if !json.Valid([]byte(got)) || strings.Contains(got, "\n") {
				t.Fatalf("%s of %q is %q", name, text, got)
			}
			if again, ok := read(got); !ok || again != got {
				t.Errorf("%s of %q is %q, of that %q", name, text, got, again)
			}
		}
	})
}
