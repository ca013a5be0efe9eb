package document

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Secret is a text that is shown nowhere: no finding quotes it, and printed, logged or encoded it is only said to be there.
// In a document it is written as it is, or as {file: PATH}: then it is what the file holds, without the newline at its end. What AWS
// keeps is named by {ssm: NAME} and its like; the reader's Lookup knows it.
type Secret string

const hidden = "[secret]"

// Format implements fmt.Formatter, for all verbs.
func (s Secret) Format(f fmt.State, _ rune) {
	if s != "" {
		_, _ = io.WriteString(f, hidden)
	}
}

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%s", s), nil }

// maxSecretBytes keeps a wrong path from being read into memory.
const maxSecretBytes = 64 << 10

// Elsewhere names what AWS keeps.
type Elsewhere struct {
	Kind string // ssm, secretsmanager, kms, s3
	Name string // for kms the ciphertext, in base64
}

func (e Elsewhere) String() string {
	if e.Kind == "kms" {
		return "{kms: ...}" // a ciphertext says nothing to anybody
	}
	return fmt.Sprintf("{%s: %s}", e.Kind, e.Name)
}

// elsewhere are the kinds.
var elsewhere = []string{"ssm", "secretsmanager", "kms", "s3"}

// isNamed is what a variable holds if it says where the secret is. (A secret itself may begin with a brace.)
var isNamed = regexp.MustCompile(`^\s*\{\s*["']?(file|ssm|secretsmanager|kms|s3)["']?\s*:.*\}\s*$`)

// secret decodes a map that says where the secret is.
func (d *decoder) secret(path string, at place, n ast.MapNode, v reflect.Value) {
	const fix = "write the text itself, or {file: PATH}"
	var keys []string
	var value ast.Node
	for it := n.MapRange(); it.Next(); {
		keys, value = append(keys, keyText(it.Key())), it.Value()
	}
	if len(keys) != 1 {
		d.fail(at, path, fmt.Sprintf("a map of %d keys names no secret", len(keys)), fix)
		return
	}
	if slices.Contains(elsewhere, keys[0]) {
		d.lookup(path, at, keys[0], value, v)
		return
	}
	if keys[0] != "file" {
		d.fail(at, path+"."+keys[0], "unknown key", fix)
		return
	}
	s, ok := scalarOf(value)
	if !ok || !filepath.IsAbs(s.text) {
		d.fail(at, path, "the file is not named by an absolute path", "write {file: /run/secrets/NAME}")
		return
	}
	text, err := readSecret(s.text)
	if err != nil {
		d.fail(at, path, err.Error(), "")
		return
	}
	v.SetString(text)
	d.record(path, at)
}

// lookup asks for what AWS keeps.
func (d *decoder) lookup(path string, at place, kind string, name ast.Node, v reflect.Value) {
	s, ok := scalarOf(name)
	if !ok || s.text == "" {
		d.fail(at, path, fmt.Sprintf("{%s: ...} names nothing", kind), "write the name as a text")
		return
	}
	from := Elsewhere{kind, s.text}
	if d.Lookup == nil {
		d.fail(at, path, fmt.Sprintf("%s cannot be looked up here", from), "write the text itself, or {file: PATH}")
		return
	}
	text, err := d.Lookup(from)
	switch text = strings.TrimSuffix(text, "\n"); {
	case text == "" && err == nil:
		d.fail(at, path, fmt.Sprintf("%s is empty", from), "")
		return
	case text == "":
		d.fail(at, path, fmt.Sprintf("%s: %v", from, err), "")
		return
	case err != nil:
		d.report(at, Warning, fmt.Sprintf("%s: %s: %v", path, from, err), "")
	}
	v.SetString(text)
	d.record(path, at)
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return "", fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot read %s: %w", path, errors.Unwrap(err))
	case len(text) > maxSecretBytes:
		return "", fmt.Errorf("%s has more than %d bytes, which is no secret", path, maxSecretBytes)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if secret == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return secret, nil
}
