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
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Secret is a text that is shown nowhere: no finding quotes it, and printed, logged or encoded it is only said to be there.
// In a document it is written as it is, or as {file: PATH}: then it is what the file holds, without the newline at its end.
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

// elsewhere are the places that fairlead render resolves; what the daemon reads names a file.
var elsewhere = []string{"ssm", "secretsmanager", "kms", "s3"}

// inFile is what a variable holds if it names a file. (A secret itself may begin with a brace.)
var inFile = regexp.MustCompile(`^\s*\{\s*["']?file["']?\s*:.*\}\s*$`)

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
	for _, k := range elsewhere {
		if keys[0] == k {
			d.fail(at, path, fmt.Sprintf("{%s: ...} is resolved by fairlead render only", k), fix)
			return
		}
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
