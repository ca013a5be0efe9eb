// Command otelrecv is the OpenTelemetry Collector's Forward receiver on its own: what it takes in it writes, one JSON object a
// log record, to a file, and only then does the receiver acknowledge. The whole-program tests use it as a receiver that shares
// no line of code with fairlead.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/fluentforwardreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:24224", "address to listen on, host:port or a path of a unix socket")
	output := flag.String("output", "/dev/stdout", "file to append the records to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *output); err != nil {
		fmt.Fprintln(os.Stderr, "otelrecv:", err)
		os.Exit(1)
	}
}

// run receives on the address until the context ends. "ready" on stdout says that connections are taken.
func run(ctx context.Context, listen, output string) error {
	out, err := openOutput(output)
	if err != nil {
		return err
	}
	defer out.Close()
	next, err := consumer.NewLogs(out.consume)
	if err != nil {
		return fmt.Errorf("create the consumer: %w", err)
	}
	logger, err := zap.NewProduction()
	if err != nil {
		return fmt.Errorf("create the logger: %w", err)
	}

	factory := fluentforwardreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig().(*fluentforwardreceiver.Config)
	cfg.ListenAddress = listen
	logs, err := factory.CreateLogs(ctx, receiver.Settings{
		ID: component.NewID(factory.Type()),
		TelemetrySettings: component.TelemetrySettings{
			Logger:         logger,
			TracerProvider: tracenoop.NewTracerProvider(),
			MeterProvider:  noop.NewMeterProvider(),
			Resource:       pcommon.NewResource(),
		},
	}, cfg, next)
	if err != nil {
		return fmt.Errorf("create the receiver: %w", err)
	}
	if err := logs.Start(ctx, componenttest.NewNopHost()); err != nil {
		return fmt.Errorf("listen on %s: %w", listen, err)
	}
	fmt.Println("ready")
	<-ctx.Done()
	return logs.Shutdown(context.Background())
}
