package script

import (
	"slices"
	"strings"
)

// report adds an exception report in the manner of the layout.
func (g *group) report() {
	switch g.stream.Layout {
	case TagsOneCall:
		g.oneCall()
	case TagsManyCalls:
		g.manyCalls(g.rng.IntN(2) == 0)
	case BareManyCalls:
		g.manyCalls(false)
	case Bare:
		if g.rng.IntN(3) == 0 {
			g.rake()
		} else {
			g.crash()
		}
	}
}

// messages are what exceptions say, with the line breaks that real messages have.
var messages = []string{
	"card declined by issuer (code=51)",
	"gateway answered with an error document:\n\n[2026-01-02 03:04:05] upstream says no\n2026-01-02 03:04:05 ERROR something dated\n[warn] a bracketed line\n\n    indented tail\n",
	"param is missing or the value is empty: order\nDid you mean?  controller\n               action",
	"undefined method `missing' for nil:NilClass\n\n    order.missing.to_s\n         ^^^^^^^^",
}

func (g *group) message() string { return messages[g.rng.IntN(len(messages))] }

// head is the line with the class and the message.
func (g *group) head() string {
	return "ActionView::Template::Error (" + g.mark() + g.message() + "):"
}

var source = []string{
	"    1: <tr>",
	"    2:   <td>合計</td>",
	"    3:   <td><%= order.missing_column.to_s %></td>",
	"    4: </tr>",
}

var frames = []string{
	"app/views/orders/_line.html.erb:3",
	"app/views/orders/invoice.html.erb:3",
	"app/models/order.rb:112:in `block in total'",
	"app/controllers/orders_controller.rb:21:in `invoice'",
	"lib/middleware/tenant.rb:9:in `call'",
}

// trace is a number of frames, the same in every layout.
func (g *group) trace() []string { return frames[g.rng.IntN(len(frames)):] }

// oneCall is the report of Rails 6.0 to 7.1: everything in one call, the tag on every line but those within the message.
func (g *group) oneCall() {
	text := []string{"  ", g.head()}
	if g.rng.IntN(2) == 0 {
		text = append(text, source...)
	}
	text = append(text, "  ")
	w := g.call("FATAL", g.tag(), append(text, g.trace()...)...)
	g.done([]string{w}, w)
}

// manyCalls is the report of Rails 5.0.1 to 5.2: two blanks, the head, (the template,) two blanks, the frames, each a call. Between
// them another thread may write; its lines end before the report does and so have the lower numbers.
func (g *group) manyCalls(interleaved bool) {
	tag, other := g.tag(), g.tag()
	var lines []string
	if interleaved {
		for range 1 + g.rng.IntN(2) {
			lines = append(lines, g.call("INFO", other, g.mark()+says[g.rng.IntN(len(says))]))
		}
	}
	calls := []string{"  ", g.head()}
	if g.rng.IntN(2) == 0 {
		calls = append(calls, strings.Join(source, "\n"))
	}
	calls = append(calls, "  ", strings.Join(g.trace(), "\n"))
	for i := range calls {
		calls[i] = g.call("FATAL", tag, calls[i])
	}
	events := append(slices.Clone(lines), strings.Join(calls, ""))

	// Each line goes before one of the calls but the first; the last call ends the unit.
	var writes []string
	for i, call := range calls {
		for left := len(calls) - i; i > 0 && len(lines) > 0 && g.rng.IntN(left) == 0; lines = lines[1:] {
			writes = append(writes, lines[0])
		}
		writes = append(writes, call)
	}
	g.done(writes, events...)
}

// crash is what Ruby writes when an exception ends it.
func (g *group) crash() {
	w := "/app/plain.rb:15:in `value': " + g.mark() + "meter not readable (Meter::ReadError)\n"
	for range 1 + g.rng.IntN(6) {
		w += "\tfrom /app/plain.rb:17:in `d'\n"
	}
	w += "\tfrom /app/plain.rb:13:in `<main>'\n"
	g.done([]string{w}, w)
}

// rake is what rake writes when a task fails.
func (g *group) rake() {
	w := "rake aborted!\nActiveRecord::RecordNotFound: " + g.mark() + "Couldn't find Order with 'id'=999999\n" +
		"/app/lib/tasks/shop.rake:12:in `sweep'\n" +
		"/app/lib/tasks/shop.rake:4:in `block (2 levels) in <top (required)>'\n" +
		"Tasks: TOP => shop:boom\n(See full trace by running task with --trace)\n"
	g.done([]string{w}, w)
}
