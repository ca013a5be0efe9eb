package document

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"time"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	secretType   = reflect.TypeFor[Secret]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isText tells whether values of t are decoded by their own UnmarshalText.
func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

// isSection tells whether t is a struct of further keys.
func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isText(t) }

// isEither tells whether t is a struct of keys that may also be written as one text: it has an UnmarshalText for that.
func isEither(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && isText(t) && len(keys(t)) > 0
}

// keyOf answers the key of a struct field: its yaml tag, else its name in lower case; inline for a field whose keys are
// those of the struct it stands in; "" for one that is no key.
func keyOf(f reflect.StructField) (key string, inline bool) {
	if !f.IsExported() {
		return "", false
	}
	name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	switch {
	case slices.Contains(strings.Split(options, ","), "inline"):
		return "", true
	case name == "-":
		return "", false
	case name == "":
		return strings.ToLower(f.Name), false
	}
	return name, false
}

// field answers the field of struct v that the key names.
func field(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		name, inline := keyOf(v.Type().Field(i))
		if inline {
			if f, ok := field(v.Field(i), key); ok {
				return f, true
			}
		} else if name == key && key != "" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// lookup answers what the path of a key leads to, from struct v.
func lookup(v reflect.Value, path string) (reflect.Value, bool) {
	for key := range strings.SplitSeq(path, ".") {
		if v.Kind() != reflect.Struct {
			return v, false
		}
		var ok bool
		if v, ok = field(v, key); !ok {
			return v, false
		}
	}
	return v, true
}

// keys lists the keys of struct type t.
func keys(t reflect.Type) []string {
	var list []string
	for i := range t.NumField() {
		name, inline := keyOf(t.Field(i))
		if inline {
			list = append(list, keys(t.Field(i).Type)...)
		} else if name != "" {
			list = append(list, name)
		}
	}
	return list
}

// paths lists every key below struct type t with its full path and type, sections before what is in them. Keys of the
// entries of a list are not among them.
func paths(t reflect.Type, prefix string, visit func(path string, t reflect.Type)) {
	for i := range t.NumField() {
		name, inline := keyOf(t.Field(i))
		ft := t.Field(i).Type
		switch {
		case inline:
			paths(ft, prefix, visit)
		case name != "":
			visit(prefix+name, ft)
			if isSection(ft) {
				paths(ft, prefix+name+".", visit)
			}
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
