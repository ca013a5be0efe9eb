package oracle

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fairlead/fairlead/test/script"
)

// Wait returns nil when every stream is complete. When the context ends first, the error says what is missing.
func (o *Oracle) Wait(ctx context.Context) error {
	for {
		o.mu.Lock()
		complete, changed := o.complete(), o.changed
		o.mu.Unlock()
		if complete {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			o.mu.Lock()
			defer o.mu.Unlock()
			return fmt.Errorf("%w; missing:\n%s", context.Cause(ctx), strings.Join(o.missing(), "\n"))
		}
	}
}

func (o *Oracle) complete() bool {
	for _, st := range o.order {
		if st.open || st.have < st.must {
			return false
		}
	}
	return true
}

// missing has a line for each incomplete stream.
func (o *Oracle) missing() []string {
	var lines []string
	for _, st := range o.order {
		if st.open {
			lines = append(lines, fmt.Sprintf("  %s: end not known, arrived %d", st.id(), len(st.seen)))
			continue
		}
		if count, ranges := st.gaps(); count > 0 {
			lines = append(lines, fmt.Sprintf("  %s: %d of %d events: %s", st.id(), count, st.must, ranges))
		}
	}
	return lines
}

// gaps returns how many numbers are missing, and which.
func (st *stream) gaps() (count int, ranges string) {
	var b strings.Builder
	found := 0
	for n := 0; n < st.must; n++ {
		if _, ok := st.seen[n]; ok {
			continue
		}
		first := n
		for n+1 < st.must {
			if _, ok := st.seen[n+1]; ok {
				break
			}
			n++
		}
		count += n - first + 1
		switch found++; {
		case found > 10:
		case n == first:
			fmt.Fprintf(&b, " %d", n)
		default:
			fmt.Fprintf(&b, " %d-%d", first, n)
		}
	}
	if found > 10 {
		fmt.Fprintf(&b, " and %d ranges more", found-10)
	}
	return count, strings.TrimSpace(b.String())
}

func (st *stream) id() string { return fmt.Sprintf("%s/%c (%s)", st.Writer, st.Name, st.Layout) }

// mayBeCut says whether the event may be the one a kill of the writer cut short.
func (st *stream) mayBeCut(n int) bool { return st.cut && n >= st.must }

// event is Stream.Event with the last group kept: events come in order.
func (st *stream) event(n int) string {
	if k := n / script.GroupEvents; k != st.group {
		st.units, st.group = st.Group(k), k
	}
	i := n % script.GroupEvents
	for _, u := range st.units {
		if i < len(u.Events) {
			return u.Events[i]
		}
		i -= len(u.Events)
	}
	panic("oracle: a group is short of events")
}

func stamp(unixNano int64) string { return time.Unix(0, unixNano).UTC().Format(time.RFC3339Nano) }

const shown = 300

func quote(s string) string {
	if len(s) > shown {
		return fmt.Sprintf("%q... (%d bytes)", s[:shown], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// difference shows both texts from a little before the first byte in which they differ.
func difference(got, want string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	from := max(0, i-40)
	return fmt.Sprintf("%d of %d bytes, they differ at byte %d:\n    got  %s\n    want %s", len(got), len(want), i, quote(got[from:]), quote(want[from:]))
}
