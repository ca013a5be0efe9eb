package document

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/internal/size"
)

// scalar is a single value as it was written. What kind of thing YAML takes it for matters only where a text is wanted:
// `tag: 5` is a number, and whether 5 or 05 was meant is lost with it.
type scalar struct {
	text string
	kind kind
}

type kind string

const (
	isString  kind = "text"
	isNumber  kind = "a number"
	isBool    kind = "true or false"
	isUntyped kind = "" // from the environment, where everything is text
)

// misfit says why a value does not fit and what would.
type misfit struct{ text, fix string }

func (m *misfit) Error() string { return m.text }

// set decodes the scalar into v.
func (s scalar) set(v reflect.Value) error {
	switch {
	case v.Type() == durationType:
		d, err := duration(s.text)
		if err != nil {
			return err
		}
		v.SetInt(int64(d))
		return nil
	case v.Type() == secretType:
		v.SetString(s.text)
		return nil
	case isText(v.Type()):
		return s.setText(v)
	}
	switch v.Kind() {
	case reflect.String:
		if s.kind == isNumber || s.kind == isBool {
			return &misfit{fmt.Sprintf("%s is %s, a text is wanted", s.text, s.kind), fmt.Sprintf("write it in quotes: %q", s.text)}
		}
		v.SetString(s.text)
	case reflect.Bool:
		return s.setBool(v)
	case reflect.Int, reflect.Int64, reflect.Int32:
		n, err := strconv.ParseInt(s.text, 10, v.Type().Bits())
		if err != nil {
			return &misfit{fmt.Sprintf("%q is not a whole number", s.text), ""}
		}
		v.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(s.text, 64)
		if err != nil {
			return &misfit{fmt.Sprintf("%q is not a number", s.text), ""}
		}
		v.SetFloat(f)
	default:
		panic(fmt.Sprintf("document: no way to decode a %s", v.Type()))
	}
	return nil
}

func (s scalar) setBool(v reflect.Value) error {
	if s.text == "true" || s.text == "false" {
		v.SetBool(s.text == "true")
		return nil
	}
	fix := "write true or false"
	switch strings.ToLower(s.text) {
	case "yes", "on", "1", "y", "true", "enabled":
		fix = "write true"
	case "no", "off", "0", "n", "false", "disabled":
		fix = "write false"
	}
	return &misfit{fmt.Sprintf("%q is neither true nor false", s.text), fix}
}

func (s scalar) setText(v reflect.Value) error {
	into, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	if !ok {
		panic(fmt.Sprintf("document: %s has lost its UnmarshalText", v.Type()))
	}
	err := into.UnmarshalText([]byte(s.text))
	if err == nil {
		return nil
	}
	fix := ""
	if v.Type() == reflect.TypeFor[size.Bytes]() {
		fix = nearSize(s.text)
	}
	return &misfit{err.Error(), fix}
}

var quantity = regexp.MustCompile(`^([0-9]+)\s*([A-Za-z]*)$`)

// duration reads Go's syntax (30s, 1h30m). No key of ours means anything by a negative one.
func duration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err == nil && d < 0:
		return 0, &misfit{fmt.Sprintf("%q is negative", text), fmt.Sprintf("write %q", strings.TrimPrefix(text, "-"))}
	case err == nil:
		return d, nil
	}
	fix := "write a number with its unit, as 500ms, 30s, 5m or 1h30m"
	if m := quantity.FindStringSubmatch(strings.TrimSpace(text)); m != nil {
		if near := nearDuration(m[1], strings.ToLower(m[2])); near != "" {
			fix = fmt.Sprintf("did you mean %q?", near)
		}
	}
	return 0, &misfit{fmt.Sprintf("%q is not a duration", text), fix}
}

func nearDuration(number, unit string) string {
	units := map[string]string{
		"": "s", "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "ms": "ms", "msec": "ms", "m": "m", "min": "m", "mins": "m",
		"minute": "m", "minutes": "m", "h": "h", "hr": "h", "hour": "h", "hours": "h",
	}
	if u, ok := units[unit]; ok {
		return number + u
	}
	if n, err := strconv.Atoi(number); err == nil && n < 10000 && (unit == "d" || unit == "day" || unit == "days") {
		return strconv.Itoa(24*n) + "h"
	}
	return ""
}

func nearSize(text string) string {
	m := quantity.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return ""
	}
	units := map[string]string{
		"k": "KiB", "kb": "KiB", "kib": "KiB", "m": "MiB", "mb": "MiB", "mib": "MiB",
		"g": "GiB", "gb": "GiB", "gib": "GiB", "t": "TiB", "tb": "TiB", "tib": "TiB", "b": "",
	}
	u, ok := units[strings.ToLower(m[2])]
	if !ok {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", m[1]+u)
}

// split takes a misfit apart; any other error is all text.
func split(err error) (text, fix string) {
	var m *misfit
	if errors.As(err, &m) {
		return m.text, m.fix
	}
	return err.Error(), ""
}
