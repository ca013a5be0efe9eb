package demo

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const (
	redrawEvery = 100 * time.Millisecond
	lineEvery   = 2 * time.Second
)

// view is what is shown at one moment.
type view struct {
	Count
	elapsed, total  time.Duration
	phase           string // what goes on
	writers         string // of the containers
	connectionsLost int64
	fault           string // the last one
	faultAgo        time.Duration
}

// display shows the demo: a block that is drawn again on a terminal, a line now and then elsewhere.
type display struct {
	out      io.Writer
	terminal *os.File // nil for none
	colour   bool
	drawn    int // lines of the block on the screen
}

func newDisplay(out io.Writer) *display {
	d := &display{out: out}
	if f, ok := out.(*os.File); ok && os.Getenv("TERM") != "dumb" {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			d.terminal, d.colour = f, os.Getenv("NO_COLOR") == ""
		}
	}
	return d
}

func (d *display) every() time.Duration {
	if d.terminal != nil {
		return redrawEvery
	}
	return lineEvery
}

// text prints lines that stay. They go below the block.
func (d *display) text(lines ...string) {
	d.drawn = 0
	for _, l := range lines {
		fmt.Fprintln(d.out, l)
	}
}

func (d *display) show(v view) {
	if d.terminal != nil {
		d.draw(v)
		return
	}
	fault := ""
	if v.fault != "" {
		fault = fmt.Sprintf("; %.1fs ago %s", v.faultAgo.Seconds(), v.fault)
	}
	fmt.Fprintf(d.out, "%2.0fs: %d lines, %d events, %d folded traces, %d pending, lost %d, repeated %d, connections lost %d%s\n",
		v.elapsed.Seconds(), v.Lines, v.Events, v.Traces, v.Missing(), v.Overdue, v.Repeated, v.connectionsLost, fault)
}

// draw overwrites the block of the time before. No line may be wider than the terminal, or it would take two.
func (d *display) draw(v view) {
	width := 80
	if size, err := unix.IoctlGetWinsize(int(d.terminal.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		width = int(size.Col)
	}
	lines := d.block(v)
	var b strings.Builder
	if d.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", d.drawn)
	}
	for _, l := range lines {
		b.WriteString("\r\x1b[2K")
		b.WriteString(d.paint(clip(l.text, width-1), l.colour))
		b.WriteByte('\n')
	}
	d.drawn = len(lines)
	_, _ = io.WriteString(d.out, b.String())
}

// row is one line of the block.
type row struct {
	text   string
	colour string // an SGR code
}

const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (d *display) block(v view) []row {
	value := func(name string, n int, what string) string {
		return fmt.Sprintf("  %-18s %9s  %s", name, thousands(n), what)
	}
	lost := green
	if v.Overdue+v.Wrong+v.Unexpected > 0 {
		lost = red
	}
	fault := row{"  no fault yet", faint}
	if v.fault != "" {
		fault = row{fmt.Sprintf("  %s (%.0f s ago)", v.fault, v.faultAgo.Seconds()), yellow}
	}
	wrong := fmt.Sprintf("not there %.0f s after they were written", overdueAfter.Seconds())
	if v.Wrong+v.Unexpected > 0 {
		wrong = fmt.Sprintf("and %d torn or with another text", v.Wrong+v.Unexpected)
	}
	return []row{
		{fmt.Sprintf("  %s  %s", bar(v.elapsed, v.total, 24), v.phase), bold},
		{"", ""},
		{value("lines written", v.Lines, v.writers), ""},
		{value("events delivered", v.Events, "with the exact text that was written"), ""},
		{value("folded traces", v.Traces, "of these, of several lines"), ""},
		{value("pending", v.Missing(), "in the files, the folds, the spool or the network"), ""},
		{value("lost", v.Overdue, wrong), lost},
		{value("repeated", v.Repeated, "as their ack was lost with a connection"), ""},
		{value("connections lost", int(v.connectionsLost), "dropped while idle, or cut by a kill"), ""},
		{"", ""},
		fault,
	}
}

func (d *display) paint(s, colour string) string {
	if !d.colour || colour == "" || s == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

func bar(done, total time.Duration, width int) string {
	n := width
	if done < total {
		n = int(int64(width) * int64(done) / int64(total))
	}
	return strings.Repeat("█", n) + strings.Repeat("░", width-n) + fmt.Sprintf(" %2.0f of %.0f s", min(done, total).Seconds(), total.Seconds())
}

// clip cuts a text to n characters, all of which are one column wide here.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:max(n, 0)])
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
