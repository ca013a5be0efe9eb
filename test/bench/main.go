// Command bench measures the program as a whole: throughput, memory, and cost and delay at light load. `make bench` runs it;
// docs/performance.md tells the method and the figures.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	var b bench
	flag.StringVar(&b.binary, "fairlead", "bin/fairlead", "program to measure")
	flag.StringVar(&b.corpora, "corpora", "forwarder/fold/testdata/corpora", "real logs the load is made of")
	flag.StringVar(&b.dir, "dir", os.TempDir(), "folder to work in; a disk, if the figures are to mean anything")
	flag.IntVar(&b.megabytes, "mb", 1000, "megabytes of log a throughput run reads, in all files together")
	flag.IntVar(&b.runs, "runs", 3, "runs of each measurement; the median is shown")
	flag.DurationVar(&b.light, "light", 30*time.Second, "length of the light-load run")
	flag.StringVar(&b.profile, "profile", "", "write a CPU profile of the throughput runs to this file")
	only := flag.String("only", "", "only this: 1, 4, 50, 500 (files), plain (4 files without folding), light, idle, listen, conns")
	flag.Parse()
	if err := b.all(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) all(only string) error {
	for _, m := range []struct {
		name string
		run  func() error
	}{
		{"4", func() error { return b.throughput("4 files", 4, true) }},
		{"plain", func() error { return b.throughput("4 files, no folding", 4, false) }},
		{"1", func() error { return b.throughput("1 file", 1, true) }},
		{"50", func() error { return b.throughput("50 files", 50, true) }},
		{"500", func() error { return b.throughput("500 files", 500, true) }},
		{"light", b.lightLoad},
		{"idle", b.idle},
		{"listen", b.forwardClients},
		{"conns", b.idleClients},
	} {
		if only != "" && only != m.name {
			continue
		}
		if err := m.run(); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}
