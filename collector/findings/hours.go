package findings

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// Hour is how much was logged in one.
type Hour struct {
	At            time.Time
	Lines, Errors int
}

// maxHours bounds what is counted: a log with a wild clock would have any number.
const maxHours = 24 * 31

// count adds lines that begin with, or hold early on, a time as the ECS agent, journalctl, dockerd and Docker write it.
func (f *Facts) count(text []byte) {
	for l := range bytes.Lines(text) {
		i := bytes.Index(l[:min(len(l), 60)], []byte("T"))
		for i >= 0 && (i < 10 || i+3 > len(l) || l[i-3] != '-' || l[i-6] != '-') {
			next := bytes.IndexByte(l[i+1:min(len(l), 60)], 'T')
			if next < 0 {
				i = -1
				break
			}
			i += next + 1
		}
		if i < 0 {
			continue
		}
		if string(l[i-10:i+3]) != f.lastHour { // most lines are of the hour of the one before
			at, err := time.Parse("2006-01-02T15", string(l[i-10:i+3]))
			if err != nil {
				continue
			}
			f.lastHour, f.lastAt = string(l[i-10:i+3]), at
		}
		at := f.lastAt
		if f.hours == nil {
			f.hours = map[time.Time]*Hour{}
		}
		h := f.hours[at]
		if h == nil {
			if len(f.hours) >= maxHours {
				continue
			}
			h = &Hour{At: at}
			f.hours[at] = h
		}
		h.Lines++
		if bytes.Contains(l, []byte("level=error")) || bytes.Contains(l, []byte("level=critical")) || bytes.Contains(l, []byte("level=fatal")) || bytes.Contains(l, []byte("[ERROR]")) || bytes.Contains(l, []byte(`"level":"error"`)) {
			h.Errors++
		}
	}
}

// Hours are the last day of the host's logs, and the most lines of an hour.
func (f *Facts) Hours() (list []Hour, most int) {
	for _, h := range f.hours {
		list = append(list, *h)
	}
	slices.SortFunc(list, func(a, b Hour) int { return cmp.Compare(a.At.Unix(), b.At.Unix()) })
	list = list[max(0, len(list)-24):]
	for _, h := range list {
		most = max(most, h.Lines)
	}
	return list, most
}
