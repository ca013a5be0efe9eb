// Command reliability runs the fault laboratory and writes its table. `make reliability` builds bin/fairlead, runs everything and writes
// docs/reliability.md. With -receiver it is a receiver that can be stopped as a process.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/test/lab"
)

// options are the flags.
type options struct {
	fairlead, only, skip, write string
	seed                        uint64
	seeds                       int
	list                        bool
}

func main() {
	var o options
	flag.StringVar(&o.fairlead, "fairlead", "bin/fairlead", "program to try")
	flag.StringVar(&o.only, "only", "", "only the scenarios whose name matches this regular expression")
	flag.StringVar(&o.skip, "skip", "", "none of the scenarios whose name matches this")
	flag.StringVar(&o.write, "write", "", "file to write the report to")
	flag.Uint64Var(&o.seed, "seed", 0, "repeats the random choices of a run; 0: choose one")
	flag.IntVar(&o.seeds, "seeds", 1, "run each scenario so many times, with following seeds")
	flag.BoolVar(&o.list, "list", false, "list the scenarios")
	receiver := flag.String("receiver", "", "be a receiver at this address, for the laboratory")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	run := func() error { return reliability(o) }
	if *receiver != "" {
		run = func() error { return lab.ServeChild(*receiver) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "reliability:", err)
		os.Exit(1)
	}
}

func reliability(o options) (err error) {
	scenarios, err := choose(o)
	if err != nil {
		return err
	}
	if o.list {
		for _, s := range scenarios {
			fmt.Printf("%-40s %s\n", s.Name, s.What)
		}
		return nil
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if o.fairlead, err = filepath.Abs(o.fairlead); err != nil {
		return err
	}
	env, err := lab.NewEnv(ctx, ".", o.fairlead, self)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	fmt.Printf("seed %d, run %s\n", o.seed, env.Run)
	if env.NoEngine != nil {
		fmt.Println("the scenarios with Docker cannot run:", env.NoEngine)
	}
	if env.Left != nil {
		fmt.Println("left by an earlier run, and still there:", env.Left)
	}
	header := lab.Header{Date: time.Now(), Machine: machine(), Version: output(o.fairlead, "version"), Engine: engine(env), Seed: o.seed,
		Command: fmt.Sprintf("make reliability`, which is `go run ./test/reliability -write docs/reliability.md -seed %d", o.seed)}
	if o.only != "" || o.skip != "" {
		header.Command = "go run ./test/reliability " + strings.Join(os.Args[1:], " ")
	}
	header.SelfTest = lab.Run(ctx, env, lab.SelfTest(), o.seed, func(string, ...any) {}).Results[lab.Fairlead]
	if got := header.SelfTest; got.Lost == 0 || got.Lost > 2*got.Written/lab.SelfTestLoses {
		return fmt.Errorf("the laboratory cannot tell loss: a receiver lost one in %d of what it acknowledged, reported are %d of %d", lab.SelfTestLoses, got.Lost, got.Written)
	}
	var rows []*lab.Row
	bad := 0
	for i := range max(o.seeds, 1) {
		for _, s := range scenarios {
			row := lab.Run(ctx, env, s, o.seed+uint64(i), func(format string, args ...any) { fmt.Printf("    "+format+"\n", args...) })
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			fmt.Println(row)
			if row.Failed() || len(row.Slow) > 0 || row.NotRun != nil {
				bad++
				fmt.Printf("    again: go run ./test/reliability -only '^%s$' -seed %d\n", regexp.QuoteMeta(s.Name), o.seed+uint64(i))
			}
			rows = append(rows, row)
		}
	}
	header.Took = time.Since(header.Date)
	if o.write != "" {
		var page bytes.Buffer
		if err := lab.Report(&page, header, rows); err != nil {
			return err
		}
		if err := os.WriteFile(o.write, page.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d scenarios failed or could not run", bad, len(rows))
	}
	return nil
}

func choose(o options) (chosen []*lab.Scenario, err error) {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	skip, err := regexp.Compile(o.skip)
	if err != nil {
		return nil, fmt.Errorf("-skip: %w", err)
	}
	for _, s := range lab.Scenarios() {
		if only.MatchString(s.Name) && (o.skip == "" || !skip.MatchString(s.Name)) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no scenario has a name that matches %q", o.only)
	}
	return chosen, nil
}

func machine() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d processors, Linux %s, %s", runtime.NumCPU(), unix.ByteSliceToString(u.Release[:]), runtime.GOARCH)
}

func engine(env *lab.Env) string {
	if env.NoEngine != nil {
		return env.NoEngine.Error()
	}
	return env.EngineVersion
}

func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return err.Error()
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return first
}
