package collector

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/collector/findings"
)

//go:embed report.html
var reportPage string

var reportTemplate = sync.OnceValue(func() *template.Template { return template.Must(template.New("report").Parse(reportPage)) })

// chart is a set of bars.
type chart struct {
	Title string
	Bars  []bar
}

func (c chart) Height() int { return 22*len(c.Bars) + 4 }

type bar struct {
	Name, Value, Colour string
	Y, Text             int
	Width               float64
}

const (
	chartWidth  = 400
	barColour   = "var(--bar)"
	warnColour  = "var(--warn)"
	critColour  = "var(--crit)"
	mostOfChart = 15
)

// add appends a bar whose part, 0 to 1, is filled.
func (c *chart) add(name string, part float64, value string, colour string) {
	y := 22 * len(c.Bars)
	if r := []rune(name); len(r) > 46 {
		name = string(r[:20]) + "…" + string(r[len(r)-25:])
	}
	c.Bars = append(c.Bars, bar{Name: name, Value: value, Colour: colour, Y: y + 4, Text: y + 16, Width: chartWidth * min(1, max(0, part))})
}

func full(part float64) string {
	switch {
	case part >= 0.95:
		return critColour
	case part >= 0.85:
		return warnColour
	}
	return barColour
}

// report is the page: findings first, then how disks, memory and logs stand, then all files.
func (b *bundle) report(list []findings.Finding) []byte {
	var page bytes.Buffer
	m := b.manifest
	err := reportTemplate().Execute(&page, struct {
		Instance, Began, Seconds, Version string
		About                             []string
		Interrupted, DiskFull             bool
		Secrets                           int
		Findings                          []findings.Finding
		Charts                            []chart
		Sources                           []Entry
	}{m.Instance, m.Began.Format(time.RFC1123), fmt.Sprintf("%.1f", m.Seconds), m.Version, b.about(), m.Interrupted, m.DiskFull, m.Secrets, list, b.charts(), m.Sources})
	if err != nil {
		panic("collector: report.html: " + err.Error()) // all values are ours
	}
	return page.Bytes()
}

// about says in a line what host this is.
func (b *bundle) about() []string {
	f := &b.facts
	var list []string
	add := func(ok bool, format string, args ...any) {
		if ok {
			list = append(list, b.shown(fmt.Sprintf(format, args...)))
		}
	}
	add(f.ECS.Cluster != "", "cluster %s", f.ECS.Cluster)
	add(f.ECS.Version != "", "%s", f.ECS.Version)
	add(f.ECS.Asked && !f.ECS.Up, "the ECS agent does not answer")
	add(f.Docker.Version != "", "Docker %s (%s, logs to %s)", f.Docker.Version, f.Docker.Driver, f.Docker.LogDriver)
	add(f.Docker.Asked && !f.Docker.Up, "Docker does not answer")
	running := 0
	for _, c := range f.Containers {
		if c.State == "running" {
			running++
		}
	}
	add(len(f.Containers) > 0, "%d of %d containers run", running, len(f.Containers))
	add(f.Memory.Total > 0, "%s of memory", human(f.Memory.Total))
	add(f.Load > 0, "load %.1f", f.Load)
	return list
}

// charts of what was found out; those without a bar are left out. Names are of the host, and looked over like any text.
func (b *bundle) charts() []chart {
	f := &b.facts
	disks := chart{Title: "File systems"}
	for _, d := range f.Disks {
		switch {
		case d.Hung:
			disks.add(d.Mount, 1, "does not answer", critColour)
		case d.Total > 0 && len(disks.Bars) < mostOfChart:
			disks.add(d.Mount, d.Used(), fmt.Sprintf("%.0f %% of %s", 100*d.Used(), human(d.Total)), full(d.Used()))
		}
	}
	uses := chart{Title: "What takes the space"}
	for _, u := range f.Uses {
		if u.Bytes > 0 && len(uses.Bars) < mostOfChart {
			more := ""
			if u.AtLeast {
				more = "at least "
			}
			uses.add(u.Path+" ("+u.What+")", float64(u.Bytes)/float64(f.Uses[0].Bytes), more+human(uint64(u.Bytes)), barColour)
		}
	}
	memory := chart{Title: "Memory"}
	if m := f.Memory; m.Total > 0 {
		part := func(n uint64) float64 { return float64(n) / float64(m.Total) }
		memory.add("in use", part(m.Total-m.Available), human(m.Total-m.Available)+" of "+human(m.Total), full(part(m.Total-m.Available)))
		memory.add("page cache", part(m.Cached), human(m.Cached), barColour)
		memory.add("kernel", part(m.Slab), human(m.Slab), barColour)
		if m.SwapTotal > 0 {
			memory.add("swap in use", float64(m.SwapTotal-m.SwapFree)/float64(m.SwapTotal), human(m.SwapTotal-m.SwapFree), warnColour)
		}
		stats := slices.Clone(f.Stats)
		slices.SortFunc(stats, func(a, b findings.Container) int { return cmp.Compare(b.Memory, a.Memory) })
		for _, c := range stats[:min(8, len(stats))] {
			memory.add(c.Name, part(c.Memory), human(c.Memory), barColour)
		}
	}
	flow := chart{Title: "Log flow: read, and what lags behind"}
	logs := slices.Clone(f.Fairlead.Sources)
	slices.SortFunc(logs, func(a, b findings.Flow) int { return cmp.Compare(b.ReadBytes+b.LagBytes, a.ReadBytes+a.LagBytes) })
	for _, l := range logs[:min(mostOfChart, len(logs))] {
		most := logs[0].ReadBytes + logs[0].LagBytes
		colour, value := barColour, human(uint64(l.ReadBytes))
		if l.LagBytes > 0 {
			value += ", lags " + human(uint64(l.LagBytes))
			if l.LagBytes > 1<<20 {
				colour = warnColour
			}
		}
		flow.add(l.Tag, float64(l.ReadBytes+l.LagBytes)/float64(max(1, most)), value, colour)
	}
	sizes := chart{Title: "Container logs on disk"}
	containers := slices.Clone(f.Containers)
	slices.SortFunc(containers, func(a, b findings.Container) int { return cmp.Compare(b.LogBytes, a.LogBytes) })
	for _, c := range containers[:min(mostOfChart, len(containers))] {
		if c.LogBytes > 0 {
			sizes.add(cmp.Or(c.Name, c.ID), float64(c.LogBytes)/float64(containers[0].LogBytes), human(uint64(c.LogBytes)), barColour)
		}
	}
	lines := chart{Title: "Lines of the host's logs, by hour"}
	hours, most := f.Hours()
	for _, h := range hours {
		colour := barColour
		if h.Errors > 0 {
			colour = warnColour
		}
		lines.add(h.At.Format("2 Jan 15:00 UTC"), float64(h.Lines)/float64(max(1, most)), fmt.Sprintf("%d, %d of them errors", h.Lines, h.Errors), colour)
	}
	var list []chart
	for _, c := range []chart{disks, uses, memory, flow, lines, sizes} {
		for i := range c.Bars {
			c.Bars[i].Name = strings.TrimSpace(b.shown(c.Bars[i].Name))
		}
		if len(c.Bars) > 0 {
			list = append(list, c)
		}
	}
	return list
}
