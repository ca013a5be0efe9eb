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
	"github.com/fairlead/fairlead/agent/drain"
	"github.com/fairlead/fairlead/agent/health"
	"github.com/fairlead/fairlead/cleanup"
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
		for _, v := range f.Volumes {
			row("volume", "%s", volume(v))
		}
		row("books", "%s", books(f.Ledger))
		row("flow", "%s", flow(f, before, now))
		if before != nil && len(before.rates) > 1 {
			row("", "%s events/s acked, the last %d s", spark(before.rates), len(before.rates))
		}
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
	if h := s.Health; h != nil && !h.Host.At.IsZero() {
		for i, d := range h.Host.Disks {
			name := ""
			if i == 0 {
				name = "disks"
			}
			row(name, "%s", disk(d))
		}
		row("machine", "%s", machine(h.Host))
		row("docker", "%s", docker(h.Docker, now))
		row("ecs agent", "%s", ecsAgent(h.ECS, now))
		if n := len(h.ECS.Stopped); n > 0 {
			last := h.ECS.Stopped[n-1]
			row("", "%s ago: %s", since(last.At, now), last)
		}
	}
	if c := s.Cleanup; c != nil {
		row("cleanup", "%s", cleaning(c, now))
		for _, f := range c.Failing {
			row("", "tasks of %s FAIL AGAIN AND AGAIN: %d are left since %s, exit code %d", f.Family, f.Tries, f.Since.UTC().Format(time.RFC3339), f.Exit)
		}
	}
	if p := s.Drain.Phase; p != drain.Serving && p != "" {
		row("drain", "%s", draining(s.Drain, now))
	}
	_ = w.Flush() // into memory
	if s.Forwarder != nil {
		b.WriteString(sources(s.Forwarder.Sources))
	}
	return b.String()
}

func disk(d health.DiskState) string {
	switch {
	case d.Error != "":
		return "NO ANSWER of " + d.Error
	case d.SizeBytes == 0:
		return d.Mount + " tells no size"
	}
	line := fmt.Sprintf("%s %.0f %% full, %s free of %s", d.Mount, d.Used()*100, amount(d.AvailBytes), amount(d.SizeBytes))
	if d.SecondsUntilFull != nil {
		line += ", FULL IN " + health.Duration(*d.SecondsUntilFull)
	}
	if d.ReadOnly {
		line += ", read only"
	}
	return line
}

func machine(h health.HostState) string {
	line := fmt.Sprintf("%d processors %.0f %% busy, load %.2f, %s of %s memory available", h.CPUs, h.Busy*100, h.Load[0], amount(h.AvailableBytes), amount(h.MemoryBytes))
	if h.Stolen > 0.05 {
		line += fmt.Sprintf(", %.0f %% STOLEN", h.Stolen*100)
	}
	if h.OOMKills > 0 {
		line += fmt.Sprintf(", %d killed for want of memory since the boot", h.OOMKills)
	}
	if h.Reboot != "" {
		line += ", REBOOT: " + h.Reboot
	}
	return line
}

func docker(d health.DockerState, now time.Time) string {
	switch {
	case d.Missing && !d.Probed.IsZero():
		return "none on this host"
	case d.Probed.IsZero():
		return "not asked yet, or health.docker_probe is 0"
	case !d.Up:
		return fmt.Sprintf("DOWN for %s: %s", since(d.Since, now), d.Error)
	}
	counts := map[string]int{}
	for _, c := range d.Containers {
		counts[c.State]++
	}
	line := fmt.Sprintf("up, %s, lists containers in %d ms", d.Version, d.Milli["list"])
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		line += fmt.Sprintf(", %d %s", counts[state], state)
	}
	if n := d.Volumes["dangling"]; n > 0 {
		line += fmt.Sprintf(", %d dangling volumes", n)
	}
	return line
}

func ecsAgent(e health.ECSState, now time.Time) string {
	switch {
	case e.Since.IsZero():
		return "not asked yet"
	case e.Missing:
		return "none on this host"
	case !e.Up:
		return fmt.Sprintf("NO ANSWER for %s: %s", since(e.Since, now), e.Error)
	}
	state := "connected"
	if !e.Connected() {
		state = "NOT CONNECTED"
	}
	return fmt.Sprintf("%s to %s, %d tasks running, %d pending, %s", state, e.Cluster, e.Tasks["RUNNING"], e.Tasks["PENDING"], e.Version)
}

// spark draws values as a line of blocks, the largest at its full height.
func spark(values []float64) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	most := slices.Max(values)
	var b strings.Builder
	for _, v := range values {
		i := 0
		if most > 0 {
			i = int(v / most * float64(len(blocks)-1))
		}
		b.WriteRune(blocks[i])
	}
	return b.String()
}

// draining says how far the instance is on its way out of service, and why.
func draining(d drain.Status, now time.Time) string {
	line := strings.ToUpper(string(d.Phase))
	for _, c := range d.Causes {
		line += "; " + c.String()
	}
	if d.Phase != drain.Out && !d.End.IsZero() {
		line += fmt.Sprintf("; %s left", max(0, d.End.Sub(now)).Round(time.Second))
	}
	if h := d.Hook; h != nil {
		line += fmt.Sprintf("; hook %s: %d heartbeats", h.Name, h.Heartbeats)
		if h.Completed {
			line += ", completed"
		}
	}
	if s := d.Spilled; s != nil {
		line += fmt.Sprintf("; %d events spilled to %s", s.Events, s.To)
		if s.Failure != "" {
			line += ", NOT ALL: " + s.Failure
		}
	}
	switch {
	case d.Result != nil && d.Result.Failure != "":
		line += "; NOT DONE: " + d.Result.Failure
	case d.Result != nil:
		line += "; no task runs, all logs are delivered"
	case d.Last != "":
		line += "; " + d.Last
	}
	return line
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

func cleaning(c *cleanup.Status, now time.Time) string {
	if c.Last.IsZero() {
		return "no pass yet"
	}
	line := fmt.Sprintf("last pass %s ago, removed %d and %s so far, %d wait", since(c.Last, now), c.RemovedTotal, amount(c.ReclaimedBytes), c.Waiting)
	if c.DryRun {
		line += ", dry run: nothing is removed"
	}
	if c.Held != "" {
		line += "; nothing of Docker's goes: " + c.Held
	}
	if c.Error != "" && !strings.Contains(c.Held, c.Error) {
		line += "; " + c.Error
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

func volume(v forwarder.VolumeStatus) string {
	line := v.Path + ": " + amount(v.UsedBytes)
	if v.MaxBytes > 0 {
		line += " of " + amount(v.MaxBytes)
	}
	if v.LostBytes > 0 {
		line += ", " + amount(v.LostBytes) + " GIVEN UP UNREAD"
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
