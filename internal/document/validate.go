package document

import (
	"cmp"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

var keyPath = regexp.MustCompile(`^[a-z_]+(\[[0-9]+\])?(\.[a-z_0-9]+(\[[0-9]+\])?)*$`)

// Validate reports what validate says of the target. A Validate may name the first fault only: each key it names is put
// back to its default and it is asked again, until it is content. What it was content with in the end is not what the
// documents say, but then there are errors and it is not used.
func (r *Reader) Validate(validate func() error, file string) {
	for again := true; again; {
		again = false
		for _, path := range r.Invalid(validate(), file) {
			again = r.reset(path) || again
		}
	}
}

// Invalid turns the messages of an error into findings and answers the keys they are about. Each that begins with the path
// of a key (`fold.wait: ...`) is put to the place where that key was set, or the list or section around it; others, and
// those about a key that no document sets, are about file.
func (r *Reader) Invalid(err error, file string) []string { return r.judged(err, Error, file) }

// Doubtful turns messages into findings as Invalid does, but they are warnings.
func (r *Reader) Doubtful(err error, file string) { r.judged(err, Warning, file) }

func (r *Reader) judged(err error, severity Severity, file string) []string {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var keys []string
		for _, e := range many.Unwrap() {
			keys = append(keys, r.judged(e, severity, file)...)
		}
		return keys
	}
	at := place{file: file}
	path, _, ok := strings.Cut(err.Error(), ": ")
	if ok = ok && keyPath.MatchString(path); ok {
		at = r.whereSet(path, at)
	}
	r.report(at, severity, err.Error(), "")
	if !ok {
		return nil
	}
	return []string{path}
}

// whereSet is the place of the key, else of the first one in it if it is a section, else of what it stands in, else the one given.
func (r *Reader) whereSet(path string, otherwise place) place {
	var inside []place
	for key, at := range r.set {
		if strings.HasPrefix(key, path+".") {
			inside = append(inside, at)
		}
	}
	if _, ok := r.set[path]; !ok && len(inside) > 0 {
		return slices.MinFunc(inside, func(a, b place) int {
			return cmp.Or(cmp.Compare(slices.Index(r.sources, a.file), slices.Index(r.sources, b.file)), cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
		})
	}
	for path != "" {
		if at, ok := r.set[path]; ok {
			return at
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return otherwise
}

// record notes that the key is set here; what was noted about the entries of a list that is replaced is forgotten.
func (r *Reader) record(path string, at place) {
	for other := range r.set {
		if strings.HasPrefix(other, path+"[") {
			delete(r.set, other)
		}
	}
	r.set[path] = at
}

// reset puts a key back to its default; the entry of a list with its whole list. It answers false if nothing has changed.
func (r *Reader) reset(path string) bool {
	list, _, _ := strings.Cut(path, "[")
	v, ok := lookup(r.target, list)
	before, _ := lookup(r.before, list)
	if !ok || reflect.DeepEqual(v.Interface(), before.Interface()) {
		return false
	}
	v.Set(before)
	return true
}
