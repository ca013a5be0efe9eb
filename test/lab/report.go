package lab

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Failed says that fairlead did not do what it must.
func (r *Row) Failed() bool {
	bad := len(r.Problems)
	for s, got := range r.Results {
		if s.ours() {
			bad += got.Lost + got.Misordered + got.Wrong
		}
	}
	return r.NotRun == nil && bad > 0
}

// Header is what a report says of its run.
type Header struct {
	Date    time.Time
	Machine string
	Version string // of fairlead
	Engine  string
	Command string
	Seed    uint64
	Took    time.Duration

	SelfTest Result // of SelfTest, which must have lost lines
}

// Report writes the page. It is made of the rows alone: nothing in it is written by hand but how to read it.
func Report(w io.Writer, h Header, rows []*Row) error {
	var b strings.Builder
	failed, notRun := 0, 0
	var total Result
	for _, r := range rows {
		if r.NotRun != nil {
			notRun++
			continue
		}
		if r.Failed() || len(r.Slow) > 0 {
			failed++
		}
		for s, got := range r.Results {
			if s.ours() {
				total.Written += got.Written
				total.Lost += got.Lost
				total.Repeated += got.Repeated
			}
		}
	}
	fmt.Fprintf(&b, "# Reliability\n\nWritten by `%s`; do not edit. %d scenarios: %d failed, %d not run. fairlead: %d events, %d lost, %d repeated.\n\n",
		h.Command, len(rows), failed, notRun, total.Written, total.Lost, total.Repeated)
	fmt.Fprintf(&b, "| | |\n| --- | --- |\n| date | %s |\n| machine | %s |\n| fairlead | %s |\n| Docker engine | %s |\n| seed | %d |\n| took | %s |\n\n",
		h.Date.UTC().Format("2006-01-02 15:04 MST"), h.Machine, h.Version, h.Engine, h.Seed, h.Took.Round(time.Second))
	b.WriteString(howToRead)
	fmt.Fprintf(&b, "Whether the laboratory can fail was tried before the run: a receiver that loses one in %d of the events it acknowledges was\nreported with %d of %d events lost.\n\n",
		SelfTestLoses, h.SelfTest.Lost, h.SelfTest.Written)
	b.WriteString("## fairlead\n\n| scenario | what happens | events | lost | repeated | delay p50 | delay p99 | longest | caught up after | reconnects |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, r := range rows {
		if r.NotRun != nil {
			fmt.Fprintf(&b, "| %s | %s | not run: %s |\n", r.Name, r.What, cell(r.NotRun.Error()))
			continue
		}
		got, mark := r.Results[Fairlead], ""
		if r.Failed() || len(r.Slow) > 0 {
			mark = "**FAILED** "
		}
		fmt.Fprintf(&b, "| %s%s | %s | %d | %s | %d | %s | %s | %s | %s | %d |\n", mark, r.Name, r.What, got.Written, bad(got.Lost), got.Repeated,
			short(got.P50), short(got.P99), short(got.Max), short(got.CaughtUp), max(got.Connections-1, 0))
	}
	besideDocker(&b, rows)
	for _, r := range rows {
		for i, p := range slices.Concat(r.Problems, r.Slow) {
			if i == 0 {
				fmt.Fprintf(&b, "\n**%s failed:**\n\n", r.Name)
			}
			fmt.Fprintf(&b, "- %s\n", p)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const howToRead = `How to read it: numbered lines are written to log files (or by real containers, in the rows of the second table), and each number that a
receiver takes is crossed off. *events*: lines written. *lost*: of these, never received, although the fault was over and nothing more had come for
15 s. *repeated*: received beyond the first time; after a fault fairlead sends again what was not acknowledged, at most 256 frames. *delay*: from
the write to the first arrival, the fault included. *caught up after*: from the end of the fault until everything written before it had
arrived. *reconnects*: connections beyond the first. A row fails also if first arrivals of a stream are out of order, if a line comes in
other words than it was written, if fairlead's own books do not balance, if it does not stop in order, if an event takes over 3 s where
connections are dropped while idle, or if it takes fairlead over 7 s (its longest pause between attempts is 5 s) to catch up after a receiver's return.

fairlead runs with its default configuration behind the balancers and where the network is at fault, apart from ` + "`min_free`" + `, which is 0 on whatever disk there is; in most other rows ` + "`ack_timeout`" + ` is 5 s (default 30 s) so that a row takes
less than a minute. The network's faults are made by a link in user space between network namespaces, packet by packet. Not tried is a
step of the machine's real-time clock under a running fairlead: a Linux kernel has one for all, and the laboratory does not touch it.

`

// besideDocker is the second table: the same containers, the same faults, at the same time.
func besideDocker(b *strings.Builder, rows []*Row) {
	head := false
	for _, r := range rows {
		if !r.Docker() {
			continue
		}
		if !head {
			head = true
			b.WriteString("\n## Beside Docker's own driver\n\nThe same program in six containers of the real engine, with the same pauses, at the same time: `json-file` read by fairlead; the\n" +
				"`fluentd` driver alone, with `fluentd-async` false and true; and the same driver with fairlead's unix socket for its `fluentd-address`, with\n" +
				"`fluentd-async` false and true, and with `fluentd-request-ack` beside the latter. Each has a receiver and a balancer of its own, and each fairlead in the table is a\n" +
				"process of its own: what is lost, out of order or changed on the way through one of them fails the row.\n\n" +
				"| scenario | | events | lost | repeated | delay p50 | delay p99 | longest | reconnects |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
		}
		if r.NotRun != nil {
			fmt.Fprintf(b, "| %s | not run: %s |\n", r.Name, cell(r.NotRun.Error()))
			continue
		}
		for _, s := range subjects {
			got, ok := r.Results[s]
			if !ok {
				continue
			}
			name := r.Name
			if s != Fairlead {
				name = ""
			}
			fmt.Fprintf(b, "| %s | %s | %d | %s | %d | %s | %s | %s | %d |\n", name, s, got.Written, share(got.Lost, got.Written), got.Repeated,
				short(got.P50), short(got.P99), short(got.Max), max(got.Connections-1, 0))
		}
	}
}

func cell(s string) string { return strings.NewReplacer("\n", " ", "|", "/").Replace(s) }

func bad(n int) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("**%d**", n)
}

func share(n, of int) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("**%d** (%.0f %%)", n, 100*float64(n)/float64(of))
}

// short rounds to what can be told apart.
func short(d time.Duration) string {
	switch {
	case d <= 0:
		return "0"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}

// String is one line of a row, for the terminal.
func (r *Row) String() string {
	if r.NotRun != nil {
		return fmt.Sprintf("%-40s not run: %v", r.Name, r.NotRun)
	}
	got := r.Results[Fairlead]
	verdict := "ok"
	if r.Failed() {
		verdict = "FAILED"
	} else if len(r.Slow) > 0 {
		verdict = "SLOW"
	}
	s := fmt.Sprintf("%-40s %-6s events %d, lost %d, repeated %d, delay p50 %s, p99 %s, longest %s, caught up after %s, reconnects %d (%s)", r.Name, verdict,
		got.Written, got.Lost, got.Repeated, short(got.P50), short(got.P99), short(got.Max), short(got.CaughtUp), max(got.Connections-1, 0), r.Took.Round(time.Second))
	for _, d := range subjects[1:] {
		if got, ok := r.Results[d]; ok {
			s += fmt.Sprintf("\n    %-48s events %d, lost %d, repeated %d, p99 %s, reconnects %d", d, got.Written, got.Lost, got.Repeated, short(got.P99), max(got.Connections-1, 0))
		}
	}
	for _, p := range slices.Concat(r.Problems, r.Slow) {
		s += "\n    " + strings.ReplaceAll(p, "\n", "\n    ")
	}
	return s
}
