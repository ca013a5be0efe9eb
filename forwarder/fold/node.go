package fold

import "bytes"

// node knows what Node.js writes about errors: a stack below a message, with the error's properties, errors and cause in braces behind it,
// as console.error does; and what it says when it dies.
var node = &language{name: "node", opens: nodeOpens, first: "([", last: "{", shapes: []shape{shapeNodeFrame, shapeScript}, takes: nodeTakes, joins: nodeJoins, traits: nodeTraits}

// Add new states at the end: they are saved.
const (
	_            uint8 = iota
	nodeScript         // "/app/server.js:28": where it died
	nodeCode           // the line there
	nodeCaret          // "    ^" under it
	nodeCaretGap       // an empty line
	nodeMessage        // "Error: message", which may go on
	nodeFrames         // the stack
	nodeProps          // "{" came: properties
	nodePropsGap       // an empty line among them
	nodeClosed         // "}" came
	nodeGap            // an empty line, perhaps before the last words
	nodeDone           // "Node.js v20.20.2"
	nodeWarning        // "(node:7) Warning: text"
	nodeObject         // "{" or "[" alone: console.log of an object, or not
	nodeMore           // a property and a comma, or something opened
	nodeLast           // the last property
	nodeObjectDone
)

var nodeTraits = []traits{
	nodeScript:     {rule: "node-crash", wait: soon, apart: true},
	nodeCode:       {rule: "node-crash", wait: soon, loose: true},
	nodeCaret:      {rule: "node-crash", wait: waits},
	nodeCaretGap:   {rule: "node-crash", wait: later, loose: true},
	nodeMessage:    {rule: "node-crash", wait: waits, head: true},
	nodeFrames:     {rule: "node-error", wait: waits},
	nodeProps:      {rule: "node-error", wait: waits},
	nodePropsGap:   {rule: "node-error", wait: later, loose: true},
	nodeClosed:     {rule: "node-error", wait: soon},
	nodeGap:        {rule: "node-error", wait: later, loose: true},
	nodeDone:       {rule: "node-crash", wait: soon, done: true},
	nodeWarning:    {rule: "node-warning", wait: later, own: true, head: true},
	nodeObject:     {rule: "node-object", wait: soon},
	nodeMore:       {rule: "node-object", wait: soon, loose: true},
	nodeLast:       {rule: "node-object", wait: soon, loose: true},
	nodeObjectDone: {rule: "node-object", wait: soon, done: true},
}

func nodeOpens(l *line) uint8 {
	b := l.msg
	switch {
	case l.shape == shapeNodeFrame:
		return nodeFrames
	case l.shape == shapeScript:
		return nodeScript
	case len(b) == 0:
		return 0
	case b[0] == '(' && isNodeWarning(b):
		return nodeWarning
	case b[len(b)-1] == '{' && l.pre.kind == bare && isObject(b), string(b) == "[":
		return nodeObject
	}
	return 0
}

func nodeJoins(l *line) uint8 {
	switch {
	case l.shape == shapeNodeFrame, l.shape == shapeMore && l.msg[len(l.msg)-1] == '.':
		if opensBrace(l.msg) {
			return nodeProps
		}
		return nodeFrames
	case isVersion(l.msg):
		return nodeDone
	}
	return 0
}

func nodeTakes(state uint8, l *line) (uint8, limit) {
	b := l.msg
	switch state {
	case nodeScript, nodeCode:
		if l.shape == shapeCaret || state == nodeCode && string(b) == "^" {
			return nodeCaret, later
		}
		if state == nodeScript && l.shape != shapeEmpty {
			return nodeCode, soon
		}
	case nodeCaret:
		if l.shape == shapeEmpty {
			return nodeCaretGap, soon
		}
		return nodeMessage, soon
	case nodeCaretGap:
		if l.shape != shapeEmpty {
			return nodeMessage, soon
		}
	case nodeMessage:
		switch {
		case l.shape == shapeEmpty:
			return nodeGap, soon
		case bytes.HasPrefix(b, []byte("(Use `node ")), bytes.HasPrefix(b, []byte("Thrown at:")):
			return nodeMessage, later
		case indented(l) && isProperty(b):
			return nodeProps, later
		}
		return nodeStack(l)
	case nodeFrames:
		switch {
		case l.shape == shapeEmpty:
			return nodeGap, soon
		case l.shape == shapeCausedBy && isCause(b):
			return nodeMessage, later
		case string(b) == "From previous event:", bytes.HasPrefix(b, []byte("    ----")):
			return nodeFrames, later
		}
		return nodeStack(l)
	case nodeProps, nodePropsGap:
		switch {
		case l.shape == shapeEmpty:
			return nodePropsGap, soon
		case indented(l):
			return nodeProps, waits
		case b[0] == '}' || b[0] == ']':
			return nodeClosed, waits
		}
	case nodeClosed:
		if l.shape == shapeEmpty {
			return nodeGap, soon
		}
	case nodeGap:
		if isVersion(b) {
			return nodeDone, later
		}
		if l.shape == shapeNodeFrame { // an empty line at the end of the message
			return nodeStack(l)
		}
	case nodeWarning:
		if bytes.HasPrefix(b, []byte("(Use `")) {
			return nodeDone, later
		}
		return nodeStack(l)
	case nodeObject, nodeMore:
		switch {
		case state == nodeMore && (string(b) == "}" || string(b) == "]"):
			return nodeObjectDone, soon
		case state == nodeMore && l.shape == shapeNodeFrame: // of an error among the values whose message ends as if there were more
			return nodeLast, soon
		case state == nodeObject && !isProperty(b) && !isElement(b), !indented(l):
			return 0, never
		}
		switch b[len(b)-1] {
		case ',', '{', '[', '(', '+':
			return nodeMore, soon
		}
		return nodeLast, soon
	case nodeLast:
		switch t := bytes.TrimLeft(b, " "); {
		case string(b) == "}" || string(b) == "]":
			return nodeObjectDone, soon
		case l.shape == shapeNodeFrame:
			if c := b[len(b)-1]; c == ',' || c == '{' {
				return nodeMore, soon
			}
			return nodeLast, soon
		case len(t) > 0 && len(t) < len(b) && (t[0] == '}' || t[0] == ']' || t[0] == ')'):
			if t[len(t)-1] == ',' {
				return nodeMore, soon
			}
			return nodeLast, soon
		}
	}
	return 0, never
}

func nodeStack(l *line) (uint8, limit) {
	if state := nodeJoins(l); state != 0 {
		return state, waits
	}
	return 0, never
}

// isVersion knows the last line of a crash: "Node.js v20.20.2".
func isVersion(b []byte) bool {
	return len(b) > 9 && len(b) < 40 && bytes.HasPrefix(b, []byte("Node.js v")) && isDigit(b[9])
}

func opensBrace(b []byte) bool { return len(b) > 1 && b[len(b)-1] == '{' && b[len(b)-2] == ' ' }

// isNodeWarning knows "(node:7) [DEP0005] DeprecationWarning: text".
func isNodeWarning(b []byte) bool {
	if !bytes.HasPrefix(b, []byte("(node:")) || len(b) < 10 || !isDigit(b[6]) {
		return false
	}
	i := bytes.IndexByte(b, ')')
	return i > 6 && i < 20 && bytes.Contains(b[i:min(len(b), i+160)], []byte(": "))
}

// isObject knows the first line of an object as console.log prints it: {, [, User {, Map(2) {, [Object: null prototype] {, <ref *1> {.
func isObject(b []byte) bool {
	t := bytes.TrimSuffix(b, []byte("{"))
	t = bytes.TrimSuffix(t, []byte(" "))
	if len(t) == 0 {
		return true
	}
	return len(t) < 60 && (t[0] == '<' && bytes.HasPrefix(t, []byte("<ref *")) || t[0] == '[' && t[len(t)-1] == ']' ||
		t[0] >= 'A' && t[0] <= 'Z' && bytes.IndexByte(t, ' ') < 0 && (isWord(t[len(t)-1]) || t[len(t)-1] == ')'))
}

// isElement knows "  { id: 1 },", "  'text',", "  7, 7," and "  Error: message": what JSON would write otherwise.
func isElement(b []byte) bool {
	t := bytes.TrimLeft(b, " ")
	if len(t) < 3 || len(b)-len(t) != 2 {
		return false
	}
	if isDigit(t[0]) {
		i := bytes.Index(t, []byte(", "))
		return i > 0 && i+2 < len(t) && t[len(t)-1] == ','
	}
	return t[0] == '\'' || t[0] >= 'A' && t[0] <= 'Z' && names(t) || t[0] == '{' && isProperty(append([]byte(" "), t[1:]...))
}

// isProperty knows "  name: ", "  'odd name': ", "  [Symbol(x)]: ", "  [cause]: ": a key without the double quotes of JSON.
func isProperty(b []byte) bool {
	t := bytes.TrimLeft(b, " ")
	if len(t) < 3 || len(b)-len(t) < 2 {
		return false
	}
	i := 0
	switch t[0] {
	case '\'':
		return bytes.Contains(t, []byte("': "))
	case '[':
		return bytes.Contains(t, []byte("]: "))
	}
	for i < len(t) && (isWord(t[i]) || t[i] == '$') {
		i++
	}
	return i > 0 && i+1 < len(t) && t[i] == ':' && t[i+1] == ' '
}
