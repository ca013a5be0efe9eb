package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/demo"
)

func newDemo() *cobra.Command {
	var o demo.Options
	var writer string
	c := &cobra.Command{
		Use:   "demo",
		Short: "See the whole path work on this machine, nothing needed",
		Long: `Containers write real Rails and Sidekiq logs that rotate; fairlead folds their traces and forwards them, through a load
balancer that drops idle connections after 2 s, to a receiver that is killed now and then. Everything runs in this
process and in a temporary folder. Each event that arrives is compared with what was written. The last line is the
verdict; the exit code is 1 if anything was lost.`,
		Example: `  fairlead demo
  fairlead demo --for 2m --keep
  fairlead demo --docker        # real containers of the local engine`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.For <= 0 {
				return wrongUsage(fmt.Errorf("--for %v: use a time above 0, such as 30s", o.For))
			}
			ctx, enough, done := signals(c.Context())
			defer done()
			if writer != "" {
				return failed(demo.Write(ctx, enough, writer, c.OutOrStdout(), c.ErrOrStderr()))
			}
			o.Out, o.Enough = c.OutOrStdout(), enough
			v, err := demo.Run(ctx, o)
			if err != nil {
				return failed(err)
			}
			if !v.OK() {
				return &exit{code: 1}
			}
			return nil
		},
	}
	c.Flags().DurationVar(&o.For, "for", 30*time.Second, "how long logs are written")
	c.Flags().BoolVar(&o.Keep, "keep", false, "leave the folder with logs and spool, and say where it is")
	c.Flags().BoolVar(&o.Docker, "docker", false, "take real containers of the local Docker engine (as root)")
	c.Flags().StringVar(&writer, "writer", "", "be a container of --docker")
	_ = c.Flags().MarkHidden("writer")
	return c
}

// signals closes enough at the first SIGINT or SIGTERM, and ends the context at the second.
func signals(ctx context.Context) (_ context.Context, enough <-chan struct{}, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	first, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(end)
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ch:
			}
			if n == 0 {
				close(first)
			} else {
				cancel()
			}
		}
	}()
	return ctx, first, func() {
		signal.Stop(ch)
		cancel()
		<-end
	}
}
