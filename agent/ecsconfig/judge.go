package ecsconfig

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/loose"
	"github.com/fairlead/fairlead/internal/near"
)

// verdict says what becomes of a value.
type verdict struct {
	value string // as it is to be written
	leave bool   // not at all: the agent would not survive it, or take only a part
	notes []note
}

// note is a finding without its place.
type note struct {
	severity  document.Severity
	text, fix string
}

func (v *verdict) say(s document.Severity, fix, format string, args ...any) {
	v.notes = append(v.notes, note{s, fmt.Sprintf(format, args...), fix})
}

// judge says what the agent makes of a value, and what is to be written instead where only one thing can be meant.
func judge(name, value string) verdict {
	v := verdict{value: value}
	if strings.Contains(value, "\x00") {
		v.leave = true
		v.say(document.Error, "type it anew", "%s: a value with a NUL byte cannot be in an environment, left out", name)
		return v
	}
	if strings.ContainsAny(value, "\n\r") {
		v.leave = true
		v.say(document.Error, "write it on one line", "%s: a value over several lines cannot be written, left out", name)
		return v
	}
	k, known := table()[name]
	if !known {
		unknown(&v, name)
		return v
	}
	if k.Platform != "" {
		v.say(document.Warning, "remove it", "%s has an effect only on Windows", name)
	}
	if trimmed := strings.TrimSpace(value); trimmed != value {
		// The parser drops what trails; what leads stays.
		if !k.Trimmed && !strings.HasPrefix(k.Type, "json") && k.Type != "bool" {
			v.say(document.Error, "write no blanks round the =", "%s: the agent would take the blank before the value for a part of it; corrected", name)
		}
		v.value = trimmed
	}
	if v.value == "" {
		if name == "ECS_CLUSTER" {
			v.say(document.Warning, "write the cluster's name", "ECS_CLUSTER is set to nothing: the agent joins the cluster default, and makes it if it may")
		}
		if k.DefaultInit != nil {
			v.say(document.Warning, "remove the line to have the default", "%s is set to nothing, which also takes away what ecs-init would set: %s", name, k.without())
		}
		return v
	}
	if strings.HasPrefix(k.Type, "json") {
		k.json(&v)
	} else {
		k.plain(&v)
	}
	if strings.Contains(v.value, `\`) && k.readByInit() && !v.leave {
		v.say(document.Warning, "", "%s: systemd removes the backslash, ecs-init keeps it: its two readers see different values", name)
	}
	if !v.leave && v.value != "" && strings.ContainsRune(`"'`, rune(v.value[0])) {
		v.say(document.Warning, "write it without the quote", "%s: systemd takes the quote for the beginning of a text and reads on to the next one, in later lines too; ecs-init takes it for a part of the value", name)
	}
	return v
}

// alike is the key that a name was most likely to be: by its letters, or by its words, of which some are missing.
func alike(name string) string {
	if like := near.Word(name, names()); like != "" {
		return like
	}
	words := strings.Split(name, "_")
	if len(words) < 3 {
		return ""
	}
	best := ""
	for _, known := range names() {
		left := words
		for _, word := range strings.Split(known, "_") {
			if len(left) > 0 && left[0] == word {
				left = left[1:]
			}
		}
		if len(left) == 0 && (best == "" || len(known) < len(best)) {
			best = known
		}
	}
	return best
}

func unknown(v *verdict, name string) {
	fix := ""
	if !keyish.MatchString(name) && strings.ContainsAny(name, "\"'{}:/@") { // a piece of something, and of what is not known
		v.say(document.Warning, "write NAME=value", "a line whose part before the = is no name of a setting: passed on as it is, without effect")
		return
	}
	if like := alike(name); like != "" {
		fix = fmt.Sprintf("did you mean %s?", like)
	}
	v.say(document.Warning, fix, "%s is not a setting of the ECS agent: passed on as it is, without effect", clip(name))
}

// shown is a value in a message.
func (k Key) shown(value string) string {
	if k.Secret {
		return "the value"
	}
	return fmt.Sprintf("%q", clip(value))
}

// corrected is the fix for what was corrected.
func (k Key) corrected(value string) string {
	if k.Secret {
		return "write it without those quotes"
	}
	return "write " + k.Name + "=" + value
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}

// plain judges all types that are no JSON.
func (k Key) plain(v *verdict) {
	if bare := loose.Unquote(loose.Straight(v.value)); bare != v.value && !strings.HasPrefix(bare, "\\") && (isQuoted(v.value) || loose.Straight(v.value) != v.value && k.Type != "string") {
		v.value = bare
		v.say(document.Error, k.corrected(bare), "%s: the agent keeps the quotes as a part of the value; corrected", k.Name)
	}
	switch k.Type {
	case "bool":
		k.boolean(v)
	case "duration":
		k.duration(v)
	case "int", "uint16":
		k.integer(v)
	case "float":
		k.float(v)
	case "enum":
		k.enum(v)
	case "int-pair":
		k.pair(v)
	case "port-range":
		k.ports(v)
	case "csv":
		if strings.Contains(v.value, ", ") || strings.Contains(v.value, " ,") {
			v.say(document.Warning, k.corrected(strings.NewReplacer(", ", ",", " ,", ",").Replace(v.value)), "%s: the agent takes the blanks round the commas for parts of the names", k.Name)
		}
	case "path":
		if !strings.HasPrefix(v.value, "/") {
			v.say(document.Warning, "begin with /", "%s: %s is not an absolute path", k.Name, k.shown(v.value))
		}
	case "url":
		k.url(v)
	case "string":
		if k.Name == "ECS_CLUSTER" {
			cluster(v)
		}
	}
}

// isQuoted tells whether quotes stand round the whole value, straight or not.
func isQuoted(value string) bool {
	s := loose.Straight(strings.TrimSpace(value))
	return len(s) >= 2 && s[0] == s[len(s)-1] && (s[0] == '"' || s[0] == '\'')
}

var clusterName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

func cluster(v *verdict) {
	name := v.value[strings.LastIndexByte(v.value, '/')+1:]
	if !clusterName.MatchString(name) || strings.Contains(v.value, "/") && !strings.HasPrefix(v.value, "arn:") {
		v.say(document.Error, "letters, digits, - and _, up to 255", "ECS_CLUSTER: %q cannot be the name of a cluster: the agent will not register", clip(v.value))
	}
}

func (k Key) url(v *verdict) {
	u, err := url.Parse(v.value)
	bare := err != nil || u.Scheme == ""
	switch {
	case k.Name == "DOCKER_HOST" && (bare || u.Scheme != "unix" && u.Scheme != "tcp" && u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "npipe"):
		v.say(document.Warning, "write DOCKER_HOST=unix:///var/run/docker.sock", "DOCKER_HOST: %s is not an address of a Docker engine", k.shown(v.value))
	case err != nil && !k.Secret:
		v.say(document.Warning, "", "%s: %s is not an address", k.Name, k.shown(v.value))
	}
}
