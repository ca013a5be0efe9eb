package document

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/fairlead/fairlead/internal/near"
)

// decoder walks one document beside the struct it fills.
type decoder struct {
	*Reader
	file    string              // a file, or "environment NAME"
	fixed   bool                // all is at the one place `file`: an environment variable has no lines
	anchors map[string]ast.Node // by name, of the whole document
	inside  map[string]bool     // anchors being expanded, so that one that holds itself ends
}

// Visit implements ast.Visitor: it collects the anchors.
func (d *decoder) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok {
		d.anchors[a.Name.String()] = a.Value
	}
	return d
}

func (d *decoder) place(n ast.Node) place {
	t := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		t = m.Values[0].Key.GetToken() // its own token is the first colon
	}
	if d.fixed || t == nil {
		return place{file: d.file}
	}
	return place{file: d.file, line: t.Position.Line, column: t.Position.Column}
}

// fail reports an error about the key.
func (d *decoder) fail(at place, path, text, fix string) {
	if path != "" {
		text = path + ": " + text
	}
	d.report(at, Error, text, fix)
}

// value decodes n into v. at is the place of the key (or list entry): findings about the value name it.
func (d *decoder) value(path string, at place, n ast.Node, v reflect.Value) {
	switch n := n.(type) {
	case *ast.AnchorNode:
		d.value(path, at, n.Value, v)
		return
	case *ast.AliasNode:
		d.alias(path, at, n, func(to ast.Node) { d.value(path, at, to, v) })
		return
	case *ast.TagNode:
		d.fail(at, path, fmt.Sprintf("the tag %s has no meaning here", n.Start.Value), "remove the tag")
		return
	case *ast.NullNode:
		return // a key without a value, as a section of which all is commented out: as if it were not there
	}
	switch t := v.Type(); {
	case t == settingsType:
		d.settings(path, at, n, v)
	case t == secretType && isMap(n):
		d.secret(path, at, n.(ast.MapNode), v)
	case isSection(t), isEither(t) && isMap(n):
		d.section(path, at, n, v)
	case t.Kind() == reflect.Pointer:
		to := reflect.New(t.Elem())
		if !v.IsNil() {
			to.Elem().Set(v.Elem())
		}
		d.value(path, at, n, to.Elem())
		v.Set(to)
	case t.Kind() == reflect.Slice && !isText(t):
		d.list(path, at, n, v)
	default:
		d.single(path, at, n, v)
	}
}

func (d *decoder) single(path string, at place, n ast.Node, v reflect.Value) {
	s, ok := scalarOf(n)
	switch {
	case ok:
		if err := s.set(v); err != nil {
			text, fix := split(err)
			d.fail(at, path, text, fix)
			return
		}
		d.record(path, at)
	case isEither(v.Type()):
		d.fail(at, path, fmt.Sprintf("a text or a map of keys is wanted, not %s", describe(n)), "")
	default:
		d.fail(at, path, fmt.Sprintf("a single value is wanted, not %s", describe(n)), "")
	}
}

func (d *decoder) list(path string, at place, n ast.Node, v reflect.Value) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		// One entry may be written without the brackets.
		if _, ok := scalarOf(n); !ok || isSection(v.Type().Elem()) {
			d.fail(at, path, fmt.Sprintf("a list is wanted, not %s", describe(n)), "write each entry on a line of its own after a dash")
			return
		}
		one := reflect.MakeSlice(v.Type(), 1, 1)
		d.record(path, at)
		d.value(path+"[0]", at, n, one.Index(0))
		v.Set(one)
		return
	}
	list := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	d.record(path, at)
	for i, n := range seq.Values {
		entry := fmt.Sprintf("%s[%d]", path, i)
		if n.Type() == ast.NullType {
			d.fail(d.place(n), entry, "an entry without a value", "remove it")
			continue
		}
		d.set[entry] = d.place(n)
		d.value(entry, d.place(n), n, list.Index(i))
	}
	v.Set(list)
}

// section decodes a map of keys into the struct v.
func (d *decoder) section(path string, at place, n ast.Node, v reflect.Value) {
	m, ok := n.(ast.MapNode)
	if !ok {
		text := fmt.Sprintf("a map of keys is wanted, not %s", describe(n))
		if path == "" {
			text = "the document: " + text
		}
		d.fail(at, path, text, "")
		return
	}
	// What is merged in (`<<: *name`) comes first: the keys written here win.
	for it := m.MapRange(); it.Next(); {
		if it.Key().IsMergeKey() {
			d.merge(path, d.place(it.Key()), it.Value(), v)
		}
	}
	first := map[string]place{}
	for it := m.MapRange(); it.Next(); {
		if it.Key().IsMergeKey() {
			continue
		}
		key, at := keyText(it.Key()), d.place(it.Key())
		if before, ok := first[key]; ok {
			d.fail(at, join(path, key), fmt.Sprintf("given twice, first in line %d", before.line), "keep one of them")
			continue
		}
		first[key] = at
		d.key(join(path, key), key, at, it.Value(), v)
	}
}

func (d *decoder) merge(path string, at place, n ast.Node, v reflect.Value) {
	switch n := n.(type) {
	case *ast.AnchorNode:
		d.merge(path, at, n.Value, v)
	case *ast.AliasNode:
		d.alias(path, at, n, func(to ast.Node) { d.merge(path, at, to, v) })
	case *ast.SequenceNode:
		for _, one := range n.Values {
			d.merge(path, at, one, v)
		}
	default:
		d.section(path, at, n, v)
	}
}

func (d *decoder) key(path, key string, at place, n ast.Node, v reflect.Value) {
	if f, ok := field(v, key); ok {
		d.value(path, at, n, f)
		return
	}
	d.fail(at, path, "unknown key", d.suggest(key, v))
}

// suggest says what key may have been meant: one of the same section, else one of the same name elsewhere.
func (d *decoder) suggest(key string, v reflect.Value) string {
	here := keys(v.Type())
	if like := near.Word(key, here); like != "" {
		return fmt.Sprintf("did you mean %q?", like)
	}
	var elsewhere string
	paths(d.target.Type(), "", func(path string, _ reflect.Type) {
		if elsewhere == "" && strings.HasSuffix(path, "."+key) {
			elsewhere = path
		}
	})
	if elsewhere != "" {
		return fmt.Sprintf("did you mean %q?", elsewhere)
	}
	if len(here) == 0 {
		return ""
	}
	return "known here: " + listing(here)
}

func (d *decoder) alias(path string, at place, n *ast.AliasNode, use func(to ast.Node)) {
	name := n.Value.String()
	to, ok := d.anchors[name]
	switch {
	case !ok:
		d.fail(at, path, fmt.Sprintf("no anchor &%s", name), "")
	case d.inside[name]:
		d.fail(at, path, fmt.Sprintf("the anchor &%s holds itself", name), "")
	default:
		d.inside[name] = true
		use(to)
		delete(d.inside, name)
	}
}
