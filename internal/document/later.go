package document

import (
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// notYet is what is said of a key that is set and has no effect.
const notYet = "not available in this version"

// laterKey checks and reports a key that is for later. It answers false if the key is no such key.
func (d *decoder) laterKey(path string, at place, n ast.Node) bool {
	for _, l := range d.later {
		if l.Path != plain(path) {
			continue
		}
		v := reflect.New(reflect.TypeOf(l.Off)).Elem()
		v.Set(reflect.ValueOf(l.Off))
		before := len(d.findings)
		if v.Type() == secretType && isMap(n) {
			v.SetString("somewhere") // it is not needed, so nothing is read
		} else {
			d.value(path, at, n, v)
		}
		if len(d.findings) > before || n.Type() == ast.NullType || l.asksForNothing(v) {
			return true
		}
		text, severity := path+": "+notYet, Error
		if !l.Loss {
			text, severity = text+", ignored", Warning
		}
		d.report(at, severity, text, l.Fix)
		return true
	}
	if d.isLaterSection(path) {
		if n.Type() != ast.NullType {
			d.section(path, at, n, reflect.Value{})
		}
		return true
	}
	return false
}

// asksForNothing tells whether v is the value that is served as asked by doing nothing.
func (l Later) asksForNothing(v reflect.Value) bool {
	if v.Type() == anyType {
		return false
	}
	if v.Kind() == reflect.Slice {
		return v.Len() == 0
	}
	return reflect.DeepEqual(v.Interface(), l.Off)
}

// isLaterSection tells whether keys for later stand below the path.
func (r *Reader) isLaterSection(path string) bool { return len(r.laterKeys(path)) > 0 }

// laterKeys lists the keys for later of a section.
func (r *Reader) laterKeys(section string) []string {
	var list []string
	prefix := join(plain(section), "")
	if section == "" {
		prefix = ""
	}
	for _, l := range r.later {
		if rest, ok := strings.CutPrefix(l.Path, prefix); ok {
			key, _, _ := strings.Cut(rest, ".")
			list = append(list, key)
		}
	}
	return list
}

// known lists the paths of all keys.
func (r *Reader) known() []string {
	var list []string
	paths(r.target.Type(), "", func(path string, _ reflect.Type) { list = append(list, path) })
	for _, l := range r.later {
		list = append(list, l.Path)
	}
	return list
}
