package ecsconfig

import (
	"fmt"
	"strings"
)

// Shown is a text of ecs.config with its secrets masked.
func (p Plan) Shown(text []byte) string {
	var b strings.Builder
	for l := range strings.Lines(string(text)) {
		b.WriteString(p.mask(strings.TrimSuffix(l, "\n")) + "\n")
	}
	return b.String()
}

// mask hides the value of a line that holds a secret.
func (p Plan) mask(raw string) string {
	name, value, ok := strings.Cut(raw, "=")
	key := strings.TrimSpace(exported.ReplaceAllString(strings.TrimSpace(invisible.Replace(name)), ""))
	key = strings.Trim(key, `"'# `)
	switch {
	case !keyish.MatchString(key) && !strings.HasPrefix(strings.TrimSpace(raw), "#") && strings.ContainsAny(raw, `"'@`):
		return "(no setting, perhaps a part of one)"
	case ok && value != "" && (IsSecret(key) || p.hidden[key] || hasPassword(key, value)):
		return name + "=(secret)"
	}
	return raw
}

// Diff shows what is to change, as diff -u does, without its secrets. It is empty where nothing changes.
func (p Plan) Diff(file string, before []byte) string {
	if string(before) == string(p.Text) {
		return ""
	}
	a, b := cut(before), cut(p.Text)
	// The longest common subsequence: files of some hundred lines.
	if len(a)*len(b) > 4_000_000 {
		return fmt.Sprintf("--- %s\n+++ %s\n(too long to compare line by line)\n", file, file)
	}
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s (fairlead)\n@@ -%d,%d +%d,%d @@\n", file, file, min(1, len(a)), len(a), min(1, len(b)), len(b))
	line := func(sign, raw string) { fmt.Fprintf(&out, "%s%s\n", sign, strings.ReplaceAll(p.mask(raw), "\r", `\r`)) }
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			line(" ", a[i])
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
			line("-", a[i])
			i++
		default:
			line("+", b[j])
			j++
		}
	}
	return out.String()
}

func cut(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}
