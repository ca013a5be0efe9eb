package tail

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// name is one file of a rotation chain.
type name struct {
	path   string
	packed bool
	age    int    // 0 is the live file, then .1, .2; only where the names are numbered
	date   string // of logrotate's dateext names
}

// dateExt is what logrotate's dateext appends: -YYYYMMDD, with an hour or a time of day where it rotates more often.
var dateExt = regexp.MustCompile(`^[-.]\d{4}-?\d{2}-?\d{2}([-_.]?\d{2,6})?$`)

// maxAge is the highest number that is looked for where the numbers of all files grow with each rotation.
const maxAge = 1<<16 - 1

// Sibling says whether base with suffix is a name that rotation gives to base: app.log.1, app.log.2.gz, app.log-20261121.
func Sibling(base, file string) bool {
	n, ok := parseName(base, file)
	return ok && file != base && n.age <= maxAge
}

func parseName(base, file string) (name, bool) {
	rest, ok := strings.CutPrefix(file, base)
	if !ok {
		return name{}, false
	}
	var n name
	rest, n.packed = strings.CutSuffix(rest, ".gz")
	switch {
	case rest == "":
		return n, !n.packed
	case rest[0] == '.' && len(rest) <= 8: // more digits are a date
		age, err := strconv.ParseUint(rest[1:], 10, 31)
		if err == nil && age > 0 {
			n.age = int(age)
			return n, true
		}
	}
	if dateExt.MatchString(rest) {
		n.date = rest
		return n, true
	}
	return name{}, false
}

// chain lists the rotated siblings of the live file at path, newest first, without the live file itself. An archive whose plain
// form is still there (the engine packs in the background) is left out.
//
// Names that count upwards come first: the agent that gives them is newer than the one that dated its files.
func chain(path string, upward bool) ([]name, error) {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return nil, err
	}
	var names []name
	for _, e := range entries {
		n, ok := parseName(base, e.Name())
		if !ok || e.Name() == base || n.age > maxAge && !upward {
			continue
		}
		n.path = filepath.Join(dir, e.Name())
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b name) int {
		if upward && a.age != b.age {
			return b.age - a.age
		}
		if a.age != b.age {
			return a.age - b.age // dated names have age 0 and come first: they are not mixed with numbered ones
		}
		if a.date != b.date {
			return strings.Compare(b.date, a.date)
		}
		if a.packed == b.packed {
			return 0
		}
		if b.packed {
			return -1
		}
		return 1
	})
	return slices.CompactFunc(names, func(a, b name) bool { return a.age == b.age && a.date == b.date }), nil
}

// steps replaces the numbered names of a listing by all numbers up to one beyond the last. A listing is not atomic, and scans come
// when files are being renamed: such a file may be in the listing under neither name. Opened number by number none escapes,
// because files only move to higher numbers.
func steps(path string, listed []name) []name {
	last := 0
	var names []name
	for _, n := range listed {
		if n.age == 0 {
			names = append(names, n)
		}
		last = max(last, n.age)
	}
	for age := 1; age <= last+1; age++ {
		plain := path + "." + strconv.Itoa(age)
		names = append(names, name{path: plain, age: age}, name{path: plain + ".gz", age: age, packed: true})
	}
	return names
}
