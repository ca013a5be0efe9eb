package document

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Place is where something was written. Line 0 is the file as a whole.
type Place struct {
	File         string `json:"file"`
	Line, Column int
}

// Finding is a finding about what stands at the place.
func (p Place) Finding(s Severity, text, fix string) Finding {
	return Finding{File: p.File, Line: p.Line, Column: p.Column, Severity: s, Text: text, Fix: fix}
}

// Settings is the type of a section whose keys are not ours to know. Every document appends what it sets, so a key may be
// there several times: the last counts, and where it cannot be used the owner may take the one before.
type Settings []Setting

// Setting is one key of a Settings section.
type Setting struct {
	Key   string
	Value Value
	At    Place `json:"-"` // where it stands says nothing about what it says
}

// Value is a value of any shape.
type Value struct {
	Kind Kind
	Text string    // of a Text, Number or Bool, as it was written
	List []Value   // of a List
	Map  []Setting // of a Map, in the order of the document
}

// Kind is the shape of a Value.
type Kind string

// The kinds.
const (
	Text   Kind = "text"
	Number Kind = "number"
	Bool   Kind = "bool"
	List   Kind = "list"
	Map    Kind = "map"
)

var settingsType = reflect.TypeFor[Settings]()

// maxNodes bounds what anchors that hold each other can blow up to.
const maxNodes = 10_000

// settings decodes a map of any keys.
func (d *decoder) settings(path string, at place, n ast.Node, v reflect.Value) {
	nodes := 0
	list, ok := d.free(path, at, n, &nodes)
	switch {
	case !ok:
	case list.Kind != Map:
		d.fail(at, path, fmt.Sprintf("a map of keys is wanted, not %s", describe(n)), "")
	default:
		d.record(path, at)
		for _, s := range list.Map {
			d.set[join(path, s.Key)] = place{s.At.File, s.At.Line, s.At.Column}
		}
		// A copy: what the struct held before may be shared with the defaults.
		v.Set(reflect.AppendSlice(reflect.AppendSlice(reflect.MakeSlice(settingsType, 0, len(list.Map)), v), reflect.ValueOf(Settings(list.Map))))
	}
}

// free decodes a value of any shape. A key without a value is left out, as everywhere.
func (d *decoder) free(path string, at place, n ast.Node, nodes *int) (v Value, ok bool) {
	if *nodes++; *nodes > maxNodes {
		if *nodes == maxNodes+1 {
			d.fail(at, path, fmt.Sprintf("more than %d values", maxNodes), "")
		}
		return v, false
	}
	if s, ok := scalarOf(n); ok {
		v.Text = s.text
		switch s.kind {
		case isNumber:
			v.Kind = Number
		case isBool:
			v.Kind, v.Text = Bool, strings.ToLower(s.text)
		default:
			v.Kind = Text
		}
		return v, true
	}
	switch n := n.(type) {
	case *ast.AnchorNode:
		return d.free(path, at, n.Value, nodes)
	case *ast.AliasNode:
		d.alias(path, at, n, func(to ast.Node) { v, ok = d.free(path, at, to, nodes) })
		return v, ok
	case *ast.NullNode:
		return v, false
	case *ast.SequenceNode:
		v.Kind = List
		for i, n := range n.Values {
			if one, ok := d.free(fmt.Sprintf("%s[%d]", path, i), d.place(n), n, nodes); ok {
				v.List = append(v.List, one)
			}
		}
		return v, true
	case ast.MapNode:
		v.Kind = Map
		v.Map = d.freeMap(path, n, nodes)
		return v, true
	}
	d.fail(at, path, "a text, number, list or map is wanted", "")
	return v, false
}

func (d *decoder) freeMap(path string, m ast.MapNode, nodes *int) []Setting {
	var list []Setting
	first := map[string]place{}
	for it := m.MapRange(); it.Next(); {
		at := d.place(it.Key())
		key := keyText(it.Key())
		if it.Key().IsMergeKey() {
			d.fail(at, join(path, key), "keys cannot be merged in here", "write them out")
			continue
		}
		if before, ok := first[key]; ok {
			d.fail(at, join(path, key), fmt.Sprintf("given twice, first in line %d", before.line), "keep one of them")
			continue
		}
		first[key] = at
		if one, ok := d.free(join(path, key), at, it.Value(), nodes); ok {
			list = append(list, Setting{key, one, Place{at.file, at.line, at.column}})
		}
	}
	return list
}
