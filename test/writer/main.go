// Command writer is the program in the containers of the whole-program tests: it writes its script on stdout and stderr and keeps
// count in a file. With -file it writes the script of stdout to a file of its own, which it rotates.
//
// The file holds, as two little-endian 64-bit numbers, how many groups of stdout and of stderr are written in full: what was counted
// must arrive, whatever happens to the writer afterwards. SIGTERM ends it after the group it is at. With -bursts it writes numbered
// lines, some at a time with pauses between, and counts these.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/test/script"
)

type options struct {
	writer   string
	layouts  [2]script.Layout // of stdout and stderr; an empty one writes nothing
	groups   int              // to write on each stream; 0: until SIGTERM
	rate     int              // bytes a second on each stream; 0: as fast as they are taken
	long     bool
	cut      bool // leave out the last newline of each stream
	progress string

	file   string
	rotate int64 // bytes; 0: never

	bursts             bool
	pauseMin, pauseMax time.Duration
	seed               uint64
	length             time.Duration
}

func main() {
	var o options
	var out, err string
	flag.StringVar(&o.writer, "writer", "w", "name of the writer")
	flag.StringVar(&out, "out", string(script.TagsOneCall), "layout of stdout")
	flag.StringVar(&err, "err", string(script.Bare), "layout of stderr")
	flag.IntVar(&o.groups, "groups", 0, "groups of events to write on each stream, 0: until SIGTERM")
	flag.IntVar(&o.rate, "rate", 0, "bytes a second on each stream, 0: full speed")
	flag.BoolVar(&o.long, "long", false, "write lines over 16 KiB now and then")
	flag.BoolVar(&o.cut, "cut", false, "leave out the last newline")
	flag.StringVar(&o.progress, "progress", "", "file to count in")
	flag.StringVar(&o.file, "file", "", "write what is for stdout to this file, and nothing else")
	flag.Int64Var(&o.rotate, "rotate", 0, "bytes after which -file is renamed to .1, .1 to .2 and so on, 0: never")
	flag.BoolVar(&o.bursts, "bursts", false, "write numbered lines on both streams, with pauses")
	flag.DurationVar(&o.pauseMin, "pause-min", 100*time.Millisecond, "shortest pause between bursts")
	flag.DurationVar(&o.pauseMax, "pause-max", time.Second, "longest pause between bursts")
	flag.Uint64Var(&o.seed, "seed", 0, "of the pauses")
	flag.DurationVar(&o.length, "for", 0, "write bursts for so long, 0: until SIGTERM")
	flag.Parse()
	o.layouts = [2]script.Layout{script.Layout(out), script.Layout(err)}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "writer:", err)
		os.Exit(1)
	}
}

// run writes both streams side by side.
func run(ctx context.Context, o options) error {
	var count *os.File
	if o.progress != "" {
		var err error
		if count, err = os.OpenFile(o.progress, os.O_CREATE|os.O_WRONLY, 0o644); err != nil {
			return err
		}
		defer count.Close()
	}
	if o.bursts {
		return o.writeBursts(ctx, count)
	}
	var wg sync.WaitGroup
	var errs [2]error
	outputs := [2]io.StringWriter{os.Stdout, os.Stderr}
	if o.file != "" {
		own := &rotating{path: o.file, every: o.rotate}
		defer own.close()
		outputs, o.layouts[1] = [2]io.StringWriter{own, nil}, ""
	}
	for i, f := range outputs {
		if o.layouts[i] == "" {
			continue
		}
		wg.Go(func() {
			s := script.Stream{Writer: o.writer, Name: "oe"[i], Layout: o.layouts[i], Long: o.long}
			errs[i] = o.write(ctx, s, f, func(groups int) error {
				if count == nil {
					return nil
				}
				var b [8]byte
				binary.LittleEndian.PutUint64(b[:], uint64(groups))
				_, err := count.WriteAt(b[:], int64(8*i))
				return err
			})
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// write puts out one stream, a system call for each of its writes, and calls done after each group.
func (o options) write(ctx context.Context, s script.Stream, f io.StringWriter, done func(groups int) error) error {
	start, sent := time.Now(), 0
	for k := 0; (o.groups == 0 || k < o.groups) && ctx.Err() == nil; k++ {
		units := s.Group(k)
		for i, u := range units {
			if o.cut && k == o.groups-1 && i == len(units)-1 {
				last := len(u.Writes) - 1
				u.Writes[last] = strings.TrimSuffix(u.Writes[last], "\n")
			}
			for _, w := range u.Writes {
				n, err := f.WriteString(w)
				sent += n
				if err != nil {
					return err
				}
			}
			if o.rate > 0 {
				due := start.Add(time.Duration(float64(sent) / float64(o.rate) * float64(time.Second)))
				pause(ctx, time.Until(due))
			}
		}
		if err := done(k + 1); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
