package ecsconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/loose"
	"github.com/fairlead/fairlead/internal/near"
)

// json judges lists and objects. What comes out has no blanks between its parts.
func (k Key) json(v *verdict) {
	first, rest, err := firstValue(v.value)
	if err == nil && strings.TrimSpace(rest) != "" {
		if !k.isList() {
			err = errors.New("text after the object")
		} else if k.accepts(first) == nil {
			v.say(document.Warning, k.corrected(first), "%s: the agent does not read what follows the list", k.Name)
		}
	}
	if err == nil {
		if err = k.accepts(first); err == nil {
			v.value = first
			k.trap(v)
			return
		}
	}
	if fixed, ok := k.meant(v.value); ok && k.accepts(fixed) == nil && fixed != first {
		v.value = fixed
		v.say(document.Error, k.corrected(fixed), "%s: its quotes are lost or too many, so the agent could not read it; corrected", k.Name)
		k.trap(v)
		return
	}
	// What was meant may be plain and still not acceptable: a list with an unknown driver.
	if fixed, ok := k.meant(v.value); ok && errors.As(k.accepts(fixed), new(*misfit)) {
		first, err = fixed, k.accepts(fixed)
	}
	k.refuse(v, first, err)
}

func (k Key) isList() bool { return strings.HasPrefix(k.Type, "json-list") }

// meant reads JSON whose quotes a shell has eaten or an editor curled.
func (k Key) meant(value string) (string, bool) {
	if k.isList() {
		return loose.List(value, k.Type == "json-list-uint16")
	}
	// Where the shell also expanded the braces: {"a":"b","c":"d"} has become a:b KEY=c:d.
	if parts := strings.Split(value, " "+k.Name+"="); len(parts) > 1 {
		value = "{" + strings.Join(parts, ",") + "}"
	}
	return loose.Object(value)
}

// firstValue cuts the first JSON value off, without blanks.
func firstValue(text string) (first, rest string, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return "", "", err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return "", "", err
	}
	return b.String(), text[d.InputOffset():], nil
}

// misfit is JSON with something in it that the agent does not take.
type misfit struct {
	what    string // is wrong with it
	fix     string
	partial bool // the agent would take what stands before it
}

func (m *misfit) Error() string { return m.what }

// accepts tells whether the agent takes all of the JSON text.
func (k Key) accepts(text string) error {
	switch k.Type {
	case "json-list-uint16":
		return each(text, func(i int, raw json.RawMessage) *misfit {
			var n uint16
			if json.Unmarshal(raw, &n) != nil || string(raw) == "null" {
				// Go's decoder keeps a slot for the element it fails on.
				return &misfit{fmt.Sprintf("%s is not a port from 0 to 65535", clip(string(raw))), "write ports as numbers, as [22,2375]", true}
			}
			return nil
		})
	case "json-list-enum":
		return each(text, func(i int, raw json.RawMessage) *misfit {
			var s string
			if json.Unmarshal(raw, &s) != nil || string(raw) == "null" {
				return &misfit{fmt.Sprintf("%s is not the name of a driver", clip(string(raw))), "write the names in double quotes", true}
			}
			if !slices.Contains(k.Values, s) {
				fix := "use only " + strings.Join(k.Values, ", ")
				if like := near.Word(s, k.Values); like != "" {
					fix = fmt.Sprintf("did you mean %q?", like)
				}
				return &misfit{fmt.Sprintf("the agent knows no logging driver %q and would end, again and again", clip(s)), fix, false}
			}
			return nil
		})
	case "json-list-string":
		return each(text, func(i int, raw json.RawMessage) *misfit {
			var s string
			if json.Unmarshal(raw, &s) != nil {
				return &misfit{fmt.Sprintf("%s is not a text", clip(string(raw))), "write it in double quotes", true}
			}
			return nil
		})
	case "json-list-cidr":
		return each(text, func(i int, raw json.RawMessage) *misfit {
			var s string
			if json.Unmarshal(raw, &s) != nil {
				return &misfit{fmt.Sprintf("%s is not a text", clip(string(raw))), "write it in double quotes", false}
			}
			if _, err := netip.ParsePrefix(s); err != nil {
				return &misfit{fmt.Sprintf("%q is not a network", clip(s)), "write networks as [\"10.0.0.0/16\"]", false}
			}
			return nil
		})
	case "json-object-string":
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &m); err != nil || m == nil {
			return &misfit{"not a JSON object", "write it as {\"name\":\"value\"}", false}
		}
		for name, raw := range m {
			var s string
			if json.Unmarshal(raw, &s) != nil {
				return &misfit{fmt.Sprintf("the value of %q is not a text", clip(name)), fmt.Sprintf("write all values in double quotes: {%q:\"...\"}", clip(name)), false}
			}
		}
		return nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &m); err != nil || m == nil {
		return &misfit{"not a JSON object", "", false}
	}
	return nil
}

// each checks the elements of a list one after the other, as the agent reads them.
func each(text string, check func(i int, raw json.RawMessage) *misfit) error {
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return &misfit{"not a JSON list", "write it as [...]", false}
	}
	for i, raw := range list {
		if m := check(i, raw); m != nil {
			return m
		}
	}
	return nil
}

// refuse says what the agent does with a value that it cannot read, and decides whether to spare it that.
func (k Key) refuse(v *verdict, text string, err error) {
	var m *misfit
	fix, what, partial := "", "not JSON", false
	if errors.As(err, &m) {
		fix, what, partial = m.fix, m.what, m.partial
	}
	if k.Secret {
		fix, what = "", "not the JSON that is wanted"
	}
	// A list that ends in the middle: what stands before the fault is taken.
	partial = partial || k.isList() && text == "" && strings.HasPrefix(strings.TrimSpace(v.value), "[") && strings.ContainsAny(v.value, "0123456789\"") && k.startsWell(v.value)
	if fix == "" && !k.Secret {
		switch {
		case k.Type == "json-list-uint16":
			fix = "write it as " + k.Name + "=[22,2375]"
		case k.isList():
			fix = "write it as " + k.Name + `=["one","two"], on one line`
			if guess, ok := loose.List("["+strings.Trim(v.value, "[], ")+"]", false); ok && k.accepts(guess) == nil {
				fix = "write " + k.Name + "=" + guess
			}
		default:
			fix = "write it as " + k.Name + `={"name":"value"}, on one line`
		}
	}
	switch {
	case k.fatal() || k.Type == "json-list-enum" && m != nil && !partial && text != "" && strings.HasPrefix(text, "["):
		v.leave = true
		if k.Type != "json-list-enum" {
			what += ": the agent would end over it, again and again"
		}
		v.say(document.Error, fix, "%s: %s; left out", k.Name, what)
	case partial:
		v.leave = true
		v.say(document.Error, fix, "%s: %s: the agent would take only the part before it; left out", k.Name, what)
	default:
		effect := "the agent uses its default: " + k.otherwise()
		switch k.Name {
		case "ECS_ENGINE_AUTH_DATA":
			effect = "the agent has no credentials for registries, pulls fail later"
		case "ECS_AVAILABLE_LOGGING_DRIVERS":
			effect = `the agent falls back to ["json-file","none"], tasks with other drivers are not placed`
		}
		v.say(document.Warning, fix, "%s: %s: %s", k.Name, what, effect)
	}
}

// startsWell tells whether the agent would read an element of the list before it stumbles.
func (k Key) startsWell(value string) bool {
	d := json.NewDecoder(strings.NewReader(value))
	if _, err := d.Token(); err != nil || !d.More() {
		return false
	}
	tok, err := d.Token()
	if err != nil {
		return false
	}
	switch tok.(type) {
	case string:
		return k.Type != "json-list-uint16"
	case float64:
		return k.Type == "json-list-uint16"
	}
	return false
}

// trap warns of what the agent accepts and yet does not do.
func (k Key) trap(v *verdict) {
	switch {
	case v.value == "[]" && k.isList() && k.otherwise() != "[]":
		v.say(document.Warning, "remove the line", "%s: an empty list counts as not set, the agent uses its default: %s", k.Name, k.otherwise())
	case k.Name == "ECS_RESERVED_PORTS" && !slices.Contains(strings.Split(strings.Trim(v.value, "[]"), ","), "22"):
		// Setting the list replaces the default.
		v.say(document.Warning, "", "%s replaces the default list: ports 22, 2375, 2376, 51678 and 51679 are reserved no longer unless it names them", k.Name)
	case k.Name == "ECS_CONTAINER_INSTANCE_TAGS":
		var m map[string]string
		_ = json.Unmarshal([]byte(v.value), &m) // accepted before
		for name, value := range m {
			if len([]rune(name)) > 128 || len([]rune(value)) > 256 {
				v.say(document.Warning, "", "%s: a tag may have 128 characters of name and 256 of value, %q has more: registering fails", k.Name, clip(name))
			}
		}
	}
}
