package document

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/fairlead/fairlead/internal/near"
)

// Environment reads the variables that begin with prefix: the prefix, then the path of a key in capitals with _ for the
// dots. A list may be written with commas between its entries, or as YAML does ([a, b]); maps and lists of maps only as
// YAML. It answers how many there are. A variable with the prefix that names no key is an error.
func (r *Reader) Environment(prefix string, environ []string) int {
	keys := r.variables(prefix)
	// Sections come before their keys, whatever the order of the environment: the more exact name wins.
	environ = slices.Sorted(slices.Values(environ))
	n := 0
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		n++
		v, ok := keys[name]
		at := place{file: "environment " + name}
		r.sources = append(r.sources, at.file)
		if !ok {
			names := make([]string, 0, len(keys))
			for k := range keys {
				names = append(names, k)
			}
			fix := ""
			if like := near.Word(name, names); like != "" {
				fix = fmt.Sprintf("did you mean %s?", like)
			}
			r.report(at, Error, "no such key", fix)
			continue
		}
		r.variable(v, at, value)
	}
	return n
}

// variable is a key that can be set by the environment.
type variable struct {
	path string
	to   reflect.Value // invalid: for later
}

// variables lists all keys by the names of their variables. Two keys of one name would be a fault of ours.
func (r *Reader) variables(prefix string) map[string]variable {
	all := map[string]variable{}
	add := func(path string, to reflect.Value) {
		name := prefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
		if other, ok := all[name]; ok && other.path != path {
			panic(fmt.Sprintf("document: %s and %s are both set by %s", path, other.path, name))
		}
		all[name] = variable{path, to}
	}
	paths(r.target.Type(), "", func(path string, _ reflect.Type) {
		v, _ := lookup(r.target, path)
		add(path, v)
	})
	return all
}

func (r *Reader) variable(key variable, at place, value string) {
	d := decoder{Reader: r, file: at.file, fixed: true, anchors: map[string]ast.Node{}, inside: map[string]bool{}}
	n, err := d.node(key, value)
	if err != nil {
		r.report(at, Error, key.path+": "+message(err), "")
		return
	}
	d.value(key.path, at, n, key.to)
}

// node makes of the variable's text what a document would hold. A single value is taken as it is, not as YAML: a template
// ({{.ContainerName}}) or a # needs no quotes here.
func (d *decoder) node(key variable, value string) (ast.Node, error) {
	t := key.to.Type()
	list := t.Kind() == reflect.Slice && !isText(t) && t != settingsType
	switch {
	case list && strings.TrimSpace(value) == "":
		return ast.Sequence(nil, true), nil
	case list && !isSection(t.Elem()) && !strings.HasPrefix(strings.TrimSpace(value), "["):
		seq := ast.Sequence(nil, true)
		for _, one := range strings.Split(value, ",") {
			seq.Values = append(seq.Values, text(strings.TrimSpace(one)))
		}
		return seq, nil
	case !list && !isSection(t) && t != settingsType && (t != secretType || !isNamed.MatchString(value)):
		return text(value), nil
	}
	tree, err := parse([]byte(value))
	if err != nil {
		return nil, err
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		return nil, &misfit{text: "no value"}
	}
	ast.Walk(d, tree.Docs[0].Body)
	return tree.Docs[0].Body, nil
}

func text(value string) ast.Node { return ast.String(token.String(value, value, &token.Position{})) }
