package journal

import "strings"

// Same says whether two cursors name the same entry. A cursor is a list like s=...;i=...;b=...;m=...;t=...;x=...: which file, which
// number in it, boot, monotonic and real time, and a hash of the fields. journald copies entries from memory to the disk when
// that is there, and they get another file and number.
func Same(a, b string) bool {
	if a == b {
		return true
	}
	pa, pb := parts(a), parts(b)
	for _, k := range []string{"b", "m", "t", "x"} {
		if pa[k] == "" || pa[k] != pb[k] {
			return false
		}
	}
	return true
}

func parts(cursor string) map[string]string {
	m := map[string]string{}
	for part := range strings.SplitSeq(cursor, ";") {
		if k, v, ok := strings.Cut(part, "="); ok {
			m[k] = v
		}
	}
	return m
}
