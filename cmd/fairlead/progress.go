package main

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/fairlead/fairlead/collector"
)

// progress shows how far a bundle is: bars on a terminal, else a line for what did not go well.
type progress struct {
	to    io.Writer
	bars  *mpb.Progress
	bar   *mpb.Bar
	now   atomic.Pointer[string] // what is being written
	bytes atomic.Int64
}

func newProgress(to io.Writer) *progress {
	p := &progress{to: to}
	if isTerminal(to) {
		p.bars = mpb.New(mpb.WithOutput(to), mpb.WithWidth(40))
	}
	return p
}

func (p *progress) event(e collector.Event) {
	p.bytes.Store(e.Bytes)
	if p.bars == nil {
		if e.Outcome != "" && e.Outcome != collector.Absent {
			fmt.Fprintln(p.to, "fairlead: "+said(e))
		}
		return
	}
	if p.bar == nil {
		empty := ""
		p.now.Store(&empty)
		p.bar = p.bars.New(int64(e.Of), mpb.BarStyle(),
			mpb.PrependDecorators(decor.CountersNoUnit("%d/%d ")),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return fmt.Sprintf(" %d KiB  %s", p.bytes.Load()>>10, *p.now.Load()) })))
	}
	p.now.Store(&e.Source)
	p.bar.SetCurrent(int64(e.Done))
	switch e.Outcome {
	case collector.Partial, collector.TimedOut, collector.Refused, collector.Failed:
		_, _ = p.bars.Write([]byte(said(e) + "\n")) // above the bar
	}
}

func said(e collector.Event) string {
	text := e.Source + ": " + e.Outcome
	if e.Why != "" {
		text += ": " + visible(e.Why, false)
	}
	return text
}

// end waits until the last state is shown.
func (p *progress) end() {
	if p.bars == nil {
		return
	}
	if p.bar != nil && !p.bar.Completed() {
		p.bar.Abort(false)
	}
	p.bars.Wait()
}
