package fold

import (
	"testing"
	"time"
)

// TestCutHeading: a line that ends where the heading of a thread's exception would name it.
func TestCutHeading(t *testing.T) {
	for _, text := range []string{"Exception in thread ", "Exception in thread", "Exception in thread \r", "Exception in thread :"} {
		var got []string
		emit := func(e *Event) { got = append(got, copyOf("", e).Text) }
		s := newFolder(t, nil).Stream("app")
		s.Add(Line{Text: []byte(text), Time: int64(time.Hour), Read: int64(time.Hour), Pos: Pos{End: 1}}, emit)
		s.Flush(emit)
		if len(got) != 1 || got[0] != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}
