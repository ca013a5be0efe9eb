package script

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// group collects the units of one group.
type group struct {
	stream Stream
	rng    *rand.Rand
	next   int // number of the next event
	units  []Unit
}

// mark takes the next number.
func (g *group) mark() string {
	n := g.next
	g.next++
	return fmt.Sprintf("w=%s s=%c n=%d ", g.stream.Writer, g.stream.Name, n)
}

// tag is the request id of a new request, as it stands before the text; nothing where the layout has none.
func (g *group) tag() string {
	switch g.stream.Layout {
	case TagsOneCall, TagsManyCalls:
		a, b := g.rng.Uint64(), g.rng.Uint64()
		return fmt.Sprintf("[%08x-%04x-4%03x-9%03x-%012x] ", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&0xffffffffffff)
	default:
		return ""
	}
}

var begin = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

// call is a call of Ruby's Logger: the prefix, the tag before every line of the text, a newline. Lines given in one element of
// the text belong to a message: no tag comes between them.
func (g *group) call(severity, tag string, text ...string) string {
	at := begin.Add(time.Duration(g.next) * time.Millisecond).Format("2006-01-02T15:04:05.000000")
	return fmt.Sprintf("%c, [%s #1] %5s -- : %s%s\n", severity[0], at, severity, tag, strings.Join(text, "\n"+tag))
}

// done ends a unit. Its events are given by the writes that make them up, joined.
func (g *group) done(writes []string, events ...string) {
	for i, e := range events {
		events[i] = strings.TrimSuffix(e, "\n")
	}
	g.units = append(g.units, Unit{Writes: writes, Events: events})
}

// What an ordinary line says: also what Docker escapes, and what must not be taken for the begin or the middle of a report.
var says = []string{
	`Started GET "/orders?a=1&b=<2>" for 127.0.0.1`,
	`  Parameters: {"mode"=>"ok", "path"=>"C:\\temp"}`,
	"Processing by OrdersController#show as */*",
	"Completed 500 Internal Server Error in 10ms (Allocations: 5296)",
	"合計 1.234 € \u2028 naïve",
	"\x1b[1m\x1b[36mOrder Load (0.1ms)\x1b[0m  \x1b[1m\x1b[34mSELECT 1\x1b[0m",
	"tab\there, bell\a, return\r",
	"2026-01-02 03:04:05 ERROR something dated",
	"",
}

// line adds an ordinary line, an event of its own.
func (g *group) line() {
	text := g.mark() + says[g.rng.IntN(len(says))]
	if g.stream.Long && g.rng.IntN(60) == 0 {
		text += g.filler(16<<10 + g.rng.IntN(80<<10))
	}
	w := text + "\n"
	if g.stream.Layout != Bare {
		w = g.call("INFO", g.tag(), text)
	}
	g.done([]string{w}, w)
}

// filler is n bytes of text, none of them in need of an escape.
func (g *group) filler(n int) string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .:"
	var b strings.Builder
	b.Grow(n + 10)
	for b.Len() < n {
		v := g.rng.Uint64()
		for range 10 {
			b.WriteByte(digits[v&63])
			v >>= 6
		}
	}
	return b.String()
}
