// Package test holds the tests of the whole program: the built binary, real containers of the Docker engine, independent
// receivers, and faults. Nothing in it shares code with the data path.
//
// It needs root (Docker's logs are root's), a Docker engine and the Go module proxy, no registry: the image is the writer alone. With
// -short it is left out. FAIRLEAD_TEST_SEED repeats the random choices of a run, FAIRLEAD_SOAK (a Go duration) makes the
// scenarios with random faults last that long, FAIRLEAD_TEST_BINARY names a binary to test instead of one built from here.
package test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/docker"
	"github.com/fairlead/fairlead/test/lab"
)

// bed is what all tests use: built once, removed at the end.
var bed struct {
	run      string // unique name of this run, part of the name of every writer
	seed     uint64
	soak     time.Duration // 0: the short version
	dir      string
	fairlead string // binaries
	otelrecv string
	engine   *docker.Engine
	image    string // id of the writer's image
	logs     string // where the engine keeps its containers
}

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		os.Exit(0)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) (code int) {
	defer func() {
		if err := tearDown(); err != nil {
			fmt.Fprintln(os.Stderr, "clean up:", err)
			code = max(code, 1)
		}
	}()
	// Whoever ends the tests from outside must not be left with our containers; what kill -9 leaves, the next run sweeps.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		fmt.Fprintln(os.Stderr, "ended by", <-ended)
		if err := tearDown(); err != nil {
			fmt.Fprintln(os.Stderr, "clean up:", err)
		}
		os.Exit(1)
	}()
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "set up the whole-program tests:", err)
		return 1
	}
	fmt.Printf("FAIRLEAD_TEST_SEED=%d run %s\n", bed.seed, bed.run)
	return m.Run()
}

func setUp() error {
	bed.run = fmt.Sprintf("flt%x", time.Now().UnixMilli()&0xffffffff)
	bed.seed = rand.Uint64()
	if v := os.Getenv("FAIRLEAD_TEST_SEED"); v != "" {
		seed, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return fmt.Errorf("FAIRLEAD_TEST_SEED: %w", err)
		}
		bed.seed = seed
	}
	if v := os.Getenv("FAIRLEAD_SOAK"); v != "" {
		soak, err := time.ParseDuration(v)
		if err != nil {
			return fmt.Errorf("FAIRLEAD_SOAK: %w", err)
		}
		bed.soak = soak
	}
	if os.Geteuid() != 0 {
		return errors.New("must run as root: the logs of Docker's containers are readable for root only (go test -short leaves these tests out)")
	}
	// Not t.TempDir: its folders are closed to the unprivileged daemon of some tests, and its names are too long for a socket.
	var err error
	if bed.dir, err = os.MkdirTemp("", fmt.Sprintf("flt-%d-", os.Getpid())); err != nil {
		return err
	}
	if err := os.Chmod(bed.dir, 0o755); err != nil {
		return err
	}
	if err := build(); err != nil {
		return err
	}
	return setUpEngine()
}

// build makes the three programs.
func build() error {
	bed.fairlead = filepath.Join(bed.dir, "fairlead")
	bed.otelrecv = filepath.Join(bed.dir, "otelrecv")
	if b := os.Getenv("FAIRLEAD_TEST_BINARY"); b != "" {
		bed.fairlead = b
	}
	for _, b := range []struct{ dir, pkg, out string }{
		{"..", "./cmd/fairlead", bed.fairlead},
		{".", "./writer", filepath.Join(bed.dir, "writer")},
		{"otelrecv", ".", bed.otelrecv},
	} {
		if filepath.Dir(b.out) != bed.dir {
			continue
		}
		cmd := exec.Command("go", "build", "-o", b.out, b.pkg)
		cmd.Dir = b.dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s in %s: %w\n%s", b.pkg, b.dir, err, out)
		}
	}
	return nil
}

func setUpEngine() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	bed.engine = docker.New(bed.run)
	root, err := bed.engine.RootDir(ctx)
	if err != nil {
		return fmt.Errorf("no Docker engine answers, and these tests are about one: %w", err)
	}
	bed.logs = filepath.Join(root, "containers")
	if err := bed.engine.Sweep(ctx); err != nil {
		return fmt.Errorf("remove containers of an earlier run: %w", err)
	}
	if err := lab.SweepFolders("flt-"); err != nil {
		return fmt.Errorf("remove folders of an earlier run: %w", err)
	}
	bed.image, err = bed.engine.ImportImage(ctx, filepath.Join(bed.dir, "writer"))
	return err
}

func tearDown() error {
	var errs []error
	if bed.engine != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		errs = append(errs, bed.engine.RemoveMine(ctx))
		if bed.image != "" {
			errs = append(errs, bed.engine.RemoveImage(ctx, bed.image))
		}
	}
	if bed.dir != "" {
		errs = append(errs, os.RemoveAll(bed.dir))
	}
	return errors.Join(errs...)
}

// newRand returns a generator for one test, reproducible by the seed whatever tests run with it.
func newRand(t *testing.T) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Name()))
	return rand.New(rand.NewPCG(bed.seed, h.Sum64()))
}

// writerName is unique on the machine.
func writerName(t *testing.T, part string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(t.Name()))
	return strings.ToLower(fmt.Sprintf("%s-%08x-%s", bed.run, h.Sum32(), part))
}
