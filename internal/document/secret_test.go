package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

type guarded struct {
	Key  Secret `yaml:"key"`
	Also Secret `yaml:"also"`
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"key": "hunter2\n", "crlf": "hunter2\r\n", "lines": "a\nb\n\n", "empty": "\n", "long": strings.Repeat("x", 1<<17)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, yaml, env string
		want            Secret
		finding         string
	}{
		{"text", "key: hunter2", "", "hunter2", ""},
		{"number", "key: 0123", "", "0123", ""},
		{"none", "key:", "", "", ""},
		{"file", "key: {file: DIR/key}", "", "hunter2", ""},
		{"file with CRLF", "key:\n  file: DIR/crlf\n", "", "hunter2", ""},
		{"file of lines", "key: {file: DIR/lines}", "", "a\nb\n", ""},
		{"file in a variable", "", "{file: DIR/key}", "hunter2", ""},
		{"text in a variable", "", "{curly: #", "{curly: #", ""},
		{"empty file", "key: {file: DIR/empty}", "", "", "d:1:1: error: key: DIR/empty is empty"},
		{"no file", "key: {file: DIR/none}", "", "", "d:1:1: error: key: cannot read DIR/none: no such file or directory"},
		{"a folder", "key: {file: DIR}", "", "", "d:1:1: error: key: cannot read DIR: is a directory"},
		{"a log", "key: {file: DIR/long}", "", "", "d:1:1: error: key: DIR/long has more than 65536 bytes, which is no secret"},
		{"relative", "key: {file: key}", "", "", "d:1:1: error: key: the file is not named by an absolute path (fix: write {file: /run/secrets/NAME})"},
		{"no file named", "key: {file: [a]}", "", "", "d:1:1: error: key: the file is not named by an absolute path (fix: write {file: /run/secrets/NAME})"},
		{"parameter store", "key: {ssm: /a}", "", "", "d:1:1: error: key: {ssm: /a} cannot be looked up here (fix: write the text itself, or {file: PATH})"},
		{"unknown place", "key: {vault: a}", "", "", "d:1:1: error: key.vault: unknown key (fix: write the text itself, or {file: PATH})"},
		{"two places", "key: {file: /a, ssm: b}", "", "", "d:1:1: error: key: a map of 2 keys names no secret (fix: write the text itself, or {file: PATH})"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v guarded
			r := NewReader(&v)
			r.Document("d", []byte(strings.ReplaceAll(c.yaml, "DIR", dir)))
			if c.env != "" {
				r.Environment("T_", []string{"T_KEY=" + strings.ReplaceAll(c.env, "DIR", dir)})
			}
			if got := strings.ReplaceAll(strings.Join(lines(r), "\n"), dir, "DIR"); got != c.finding {
				t.Errorf("finding %q, want %q", got, c.finding)
			}
			if string(v.Key) != string(c.want) {
				t.Errorf("got %q, want %q", string(v.Key), string(c.want))
			}
		})
	}
}

// What AWS keeps is asked of Lookup.
func TestSecretsElsewhere(t *testing.T) {
	for _, c := range []struct{ name, yaml, env, want, finding string }{
		{"there", "key: {ssm: /key}", "", "hunter2", ""},
		{"in a variable", "", "{ssm: /key}", "hunter2", ""},
		{"a former value", "key: {s3: \"s3://b/k\"}", "", "former", "d:1:1: warning: key: {s3: s3://b/k}: no answer"},
		{"none", "key: {secretsmanager: x}", "", "", "d:1:1: error: key: {secretsmanager: x}: no answer"},
		{"ciphertext", "key: {kms: QUJD}", "", "", "d:1:1: error: key: {kms: ...}: no answer"},
		{"empty", "key: {ssm: /empty}", "", "", "d:1:1: error: key: {ssm: /empty} is empty"},
		{"no name", "key: {ssm: []}", "", "", "d:1:1: error: key: {ssm: ...} names nothing (fix: write the name as a text)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v guarded
			r := NewReader(&v)
			r.Lookup = func(from Elsewhere) (string, error) {
				switch from.Name {
				case "/key":
					return "hunter2\n", nil
				case "/empty":
					return "", nil
				case "s3://b/k":
					return "former", errors.New("no answer")
				}
				return "", errors.New("no answer")
			}
			r.Document("d", []byte(c.yaml))
			if c.env != "" {
				r.Environment("T_", []string{"T_KEY=" + c.env})
			}
			if got := strings.Join(lines(r), "\n"); got != c.finding {
				t.Errorf("finding %q, want %q", got, c.finding)
			}
			if string(v.Key) != c.want {
				t.Errorf("got %q, want %q", string(v.Key), c.want)
			}
		})
	}
}

// However a configuration is printed, its secrets are not.
func TestSecretsAreNotPrinted(t *testing.T) {
	v := guarded{Key: "hunter2"}
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&b, verb+" ", v)
		fmt.Fprintf(&b, verb+" ", v.Key)
		fmt.Fprintf(&b, verb+" ", &v)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(text)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "key", v.Key, "all", v)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "key", v.Key, "all", v)
	if got := b.String(); strings.Contains(got, "hunter2") || strings.Contains(strings.ToLower(got), "68756e746572") {
		t.Error(got)
	}
	if !reflect.DeepEqual(v, guarded{Key: "hunter2"}) || fmt.Sprint(v.Also) != "" {
		t.Error("an empty one is to be seen as empty")
	}
}
