package document

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// scalarOf answers the single value a node is, if it is one.
func scalarOf(n ast.Node) (scalar, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return scalar{n.Value, isString}, true
	case *ast.LiteralNode:
		return scalar{n.Value.Value, isString}, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return scalar{n.GetToken().Value, isNumber}, true
	case *ast.BoolNode:
		return scalar{n.GetToken().Value, isBool}, true
	}
	return scalar{}, false
}

func isMap(n ast.Node) bool {
	_, ok := n.(ast.MapNode)
	return ok
}

func keyText(k ast.MapKeyNode) string {
	if s, ok := k.(*ast.StringNode); ok {
		return s.Value
	}
	if m, ok := k.(*ast.MappingKeyNode); ok {
		return strings.TrimPrefix(m.String(), "? ")
	}
	return k.String()
}

// describe names what a node is, without quoting it: it may hold a secret.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "a map"
	default:
		if s, ok := scalarOf(n); ok {
			return map[kind]string{isString: "a text", isNumber: "a number", isBool: "true or false"}[s.kind]
		}
		return strings.ToLower(n.Type().String())
	}
}

// listing writes names in order with commas.
func listing(names []string) string {
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ", ")
}
