package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fairlead/fairlead/agent"
	"github.com/fairlead/fairlead/forwarder"
)

// describe writes a status for people. With a former one it adds rates.
func describe(s agent.Status, before *former, now time.Time) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	state := "ready"
	if !s.Ready.OK {
		texts := make([]string, len(s.Ready.Reasons))
		for i, r := range s.Ready.Reasons {
			texts[i] = r.Text
		}
		state = "NOT READY: " + strings.Join(texts, "; ")
	}
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("fairlead", "%s, pid %d, up %s, %s", s.Version, s.PID, since(s.Started, now), state)
	row("config", "%s", config(s.Config))
	if s.Config.Refused != "" {
		row("", "REFUSED since: %s", s.Config.Refused)
	}
	for _, f := range s.Config.Findings {
		row("", "%s", f)
	}
	if f := s.Forwarder; f != nil {
		row("forward", "%s", forward(f, now))
		if w := f.Forward.Warning; w != "" {
			row("", "%s", w)
		}
		if l := f.Listen; len(l.Listening)+len(l.Missing) > 0 {
			row("listen", "%s", listening(l))
		}
		if found := hostLogs(f.Host); found != "" {
			row("host", "%s", found)
		}
		if len(f.Journal.Units) > 0 {
			row("journal", "%s", journal(f.Journal))
		}
		row("spool", "%s", spool(f.Spool))
		if n := f.Spool.SetAsideFiles; n > 0 {
			row("set aside", "%d frames, %s: see what is wrong with them, then run fairlead replay --set-aside", n, amount(f.Spool.SetAsideBytes))
		}
		row("books", "%s", books(f.Ledger))
		row("flow", "%s", flow(f, before, now))
		if len(f.Excluded) > 0 {
			row("excluded", "%s", excluded(f.Excluded))
		}
		if found := languages(f.Sources); found != "" {
			row("reports", "%s", found)
		}
	}
	if e := s.ECSConfig; e != nil {
		row("ecs.config", "%s", ecsConfig(e, now))
	}
	_ = w.Flush() // into memory
	if s.Forwarder != nil {
		b.WriteString(sources(s.Forwarder.Sources))
	}
	return b.String()
}

func ecsConfig(e *agent.ECSStatus, now time.Time) string {
	line := e.File + " as rendered"
	if len(e.Drift) > 0 {
		line = e.File + " CHANGED by somebody: " + strings.Join(e.Drift, ", ")
		if e.Since != nil {
			line += fmt.Sprintf(" (%s ago)", since(*e.Since, now))
		}
	}
	if e.Error != "" {
		line += "; NOT RENDERED: " + e.Error
	}
	return line
}

func config(c agent.ConfigStatus) string {
	from := "defaults"
	if len(c.Files) > 0 {
		from = strings.Join(c.Files, ", ")
	}
	if c.Variables > 0 {
		from += fmt.Sprintf(", %d from the environment", c.Variables)
	}
	return fmt.Sprintf("%s (%s)", from, c.Hash)
}

func forward(f *forwarder.Status, now time.Time) string {
	to := f.Forward
	line := "not connected"
	if to.Address != "" {
		line = to.Address
		if to.Remote != "" && to.Remote != to.Address {
			line += " (" + to.Remote + ")"
		}
		line += fmt.Sprintf(", connected %s, %d frames in flight", since(to.Connected, now), to.InFlight)
	}
	if !to.LastAck.IsZero() {
		line += fmt.Sprintf(", last ack %s ago", since(to.LastAck, now))
	}
	if to.Failures > 0 {
		line += fmt.Sprintf(", failing for %s (%d attempts): %s", since(to.Since, now), to.Failures, to.LastError)
	}
	if x := to.Suspect; x != nil {
		line += fmt.Sprintf(", frame %x was refused %d times in %s and holds up the others", x.Seq, x.Refused, since(x.Since, now))
	}
	return line
}

func listening(l forwarder.ListenStatus) string {
	line := fmt.Sprintf("%s: %d connections, %d entries received", strings.Join(l.Listening, ", "), l.Connections, l.Entries)
	if len(l.Listening) == 0 {
		line = "nowhere"
	}
	for _, address := range slices.Sorted(maps.Keys(l.Missing)) {
		line += fmt.Sprintf("; NOT %s: %s", address, l.Missing[address])
	}
	return line
}

// hostLogs says where each log of the host is read, those that are nowhere left out.
func hostLogs(logs []forwarder.HostStatus) string {
	var found []string
	for _, l := range logs {
		if l.From != "" {
			found = append(found, l.Log+" from "+l.From)
		}
	}
	return strings.Join(found, ", ")
}

func journal(j forwarder.JournalStatus) string {
	return fmt.Sprintf("%s: %s, %d entries", strings.Join(j.Units, ", "), j.State, j.Entries)
}

func spool(s forwarder.SpoolStatus) string {
	line := fmt.Sprintf("%d events in %d frames, %s of %s, %d segments", s.PendingEvents, s.PendingFrames, amount(s.PendingBytes), amount(s.CapacityBytes), s.Segments)
	if s.PendingFrames > 0 {
		line += fmt.Sprintf(", oldest %.1f s", s.OldestSeconds)
	}
	if s.Full != "" {
		line += ", TAKES NO MORE: " + s.Full
	}
	if s.Failing != "" {
		line += ", FAILING: " + s.Failing
	}
	return line
}

func books(b forwarder.Ledger) string {
	verdict := "balanced"
	if b.Imbalance != 0 {
		verdict = fmt.Sprintf("OUT OF BALANCE by %d", b.Imbalance)
	}
	replayed := ""
	if b.Replayed > 0 {
		replayed = fmt.Sprintf(" + replayed %d", b.Replayed)
	}
	return fmt.Sprintf("read %d + received %d + recovered %d%s = acked %d + building %d + spooled %d + lost %d + set aside %d: %s",
		b.Read, b.Received, b.Recovered, replayed, b.Acked, b.Building, b.Spooled, b.Lost, b.SetAside, verdict)
}

// flow sums up the sources, with rates if there is a former status of the same daemon.
func flow(f *forwarder.Status, before *former, now time.Time) string {
	lines, read, lag := totals(f)
	line := fmt.Sprintf("%d lines, %s read, lag %s in %d sources", lines, amount(read), amount(lag), len(f.Sources))
	if before == nil || before.status.Forwarder == nil {
		return line
	}
	formerLines, formerRead, _ := totals(before.status.Forwarder)
	if seconds := now.Sub(before.at).Seconds(); seconds > 0 && lines >= formerLines {
		acked := f.Ledger.Acked - before.status.Forwarder.Ledger.Acked
		line += fmt.Sprintf("; now %.0f lines/s, %s/s, %.0f events/s acked", float64(lines-formerLines)/seconds,
			amount(int64(float64(max(0, read-formerRead))/seconds)), float64(max(0, acked))/seconds)
	}
	return line
}

// languages says whose reports were found, and in how many sources; "" before the first.
func languages(list []forwarder.SourceStatus) string {
	counts := map[string]int{}
	for _, s := range list {
		for _, lang := range s.Languages {
			counts[lang]++
		}
	}
	var found []string
	for _, lang := range slices.Sorted(maps.Keys(counts)) {
		found = append(found, fmt.Sprintf("%s in %d", lang, counts[lang]))
	}
	if len(found) == 0 {
		return ""
	}
	return strings.Join(found, ", ") + " sources"
}

// excluded says how many containers are not read for which reason, and names the first few of each.
func excluded(list []forwarder.Excluded) string {
	const named = 3
	names := map[string][]string{}
	for _, e := range list {
		names[e.Reason] = append(names[e.Reason], e.Name)
	}
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(names)) {
		who := slices.Sorted(slices.Values(names[reason]))
		more := ""
		if len(who) > named {
			more = fmt.Sprintf(" and %d more", len(who)-named)
		}
		all = append(all, fmt.Sprintf("%s%s (%s)", strings.Join(who[:min(len(who), named)], ", "), more, reason))
	}
	return strings.Join(all, "; ")
}

func totals(f *forwarder.Status) (lines, read, lag int64) {
	for _, s := range f.Sources {
		lines, read, lag = lines+s.Lines, read+s.ReadBytes, lag+s.LagBytes
	}
	return lines, read, lag
}

// maxSources is how many sources are listed, those that lag most first. All are in --json.
const maxSources = 25

func sources(list []forwarder.SourceStatus) string {
	if len(list) == 0 {
		return ""
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b forwarder.SourceStatus) int {
		return cmp.Or(cmp.Compare(b.LagBytes, a.LagBytes), cmp.Compare(b.PendingBytes, a.PendingBytes), cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Path, b.Path))
	})
	var b strings.Builder
	b.WriteByte('\n')
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TAG\tLAG\tPENDING\tLINES\tEVENTS\tDELIVERED\tPATH")
	for _, s := range list[:min(len(list), maxSources)] {
		delivered := "no"
		if s.Delivered {
			delivered = "all"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", s.Tag, amount(s.LagBytes), amount(s.PendingBytes), s.Lines, s.Events, delivered, s.Path)
	}
	_ = w.Flush() // into memory
	if more := len(list) - maxSources; more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	return b.String()
}

// since rounds to what a person reads.
func since(t, now time.Time) string {
	d := now.Sub(t)
	if d < 10*time.Second {
		return max(0, d).Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func amount(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
