// Command release builds all that a release consists of, from the source tree and Go's module cache alone: static binaries, rpm and deb
// packages, container images, man pages, completions, a list of what is linked in with its licences, and checksums. The same tree, version,
// time and Go give the same bytes.
package main

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxBinary is what the program may weigh.
const maxBinary = 30 << 20

// The last nfpm all of whose parts the module proxy serves.
const nfpm = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4"

type release struct {
	version, commit string
	at              time.Time // of every file in it
	arches, formats []string  // amd64, arm64; deb, rpm, image
	out             string
}

func main() {
	var r release
	var arches, formats string
	var at int64
	flag.StringVar(&r.version, "version", "", "version, as packages have it (default: from git)")
	flag.StringVar(&r.commit, "commit", "", "commit (default: from git)")
	flag.Int64Var(&at, "date", 0, "Unix time of the files (default: SOURCE_DATE_EPOCH, else the commit's)")
	flag.StringVar(&arches, "arch", "amd64,arm64", "architectures")
	flag.StringVar(&formats, "formats", "deb,rpm,image", "what to make besides the binary")
	flag.StringVar(&r.out, "out", "dist", "folder to write to; what is in it is removed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	r.arches, r.formats = words(arches), words(formats)
	err := r.fromGit(ctx, at)
	if err == nil {
		err = r.make(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// make builds everything.
func (r *release) make(ctx context.Context) error {
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	shared := filepath.Join(r.out, "stage", "shared")
	if err := os.MkdirAll(shared, 0o755); err != nil {
		return err
	}
	if err := r.docs(ctx, shared); err != nil {
		return err
	}
	for _, arch := range r.arches {
		if err := r.build(ctx, arch); err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
	}
	if err := os.RemoveAll(filepath.Join(r.out, "stage")); err != nil {
		return err
	}
	return checksums(r.out)
}

// docs writes man pages, packed, and completions.
func (r *release) docs(ctx context.Context, dir string) error {
	if err := r.run(ctx, nil, "go", "run", "-buildvcs=false", "-trimpath", "-tags", "docs", "-ldflags", r.ldflags(), "./cmd/fairlead",
		"docs", dir, "--date", strconv.FormatInt(r.at.Unix(), 10)); err != nil {
		return err
	}
	pages, err := filepath.Glob(filepath.Join(dir, "man", "*.1"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		if err := pack(page); err != nil {
			return err
		}
	}
	return nil
}

// pack replaces a file by itself with gzip; its time is not in it.
func pack(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := os.Create(path + ".gz")
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		return err
	}
	return os.Remove(path)
}

func (r *release) ldflags() string {
	return fmt.Sprintf("-s -w -buildid= -X main.version=%s -X main.commit=%s", r.version, r.commit)
}

// build makes what there is of one architecture.
func (r *release) build(ctx context.Context, arch string) error {
	stage := filepath.Join(r.out, "stage", arch)
	if err := os.CopyFS(stage, os.DirFS(filepath.Join(r.out, "stage", "shared"))); err != nil {
		return err
	}
	program := filepath.Join(stage, "fairlead")
	if err := r.run(ctx, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", r.ldflags(),
		"-o", program, "./cmd/fairlead"); err != nil {
		return err
	}
	info, err := os.Stat(program)
	if err != nil {
		return err
	}
	if info.Size() > maxBinary {
		return fmt.Errorf("the program has %d bytes, more than %d", info.Size(), maxBinary)
	}
	linked, err := modules(ctx, program)
	if err != nil {
		return err
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(stage, "NOTICES"), notices(linked), 0o644),
		os.WriteFile(filepath.Join(stage, "sbom.json"), r.sbom(linked, arch), 0o644)); err != nil {
		return err
	}
	// Times and modes go into the packages, and are not to depend on who builds them, when, and with what umask.
	if err := filepath.Walk(stage, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if info.IsDir() || path == program {
			mode = 0o755
		}
		return errors.Join(os.Chmod(path, mode), os.Chtimes(path, r.at, r.at))
	}); err != nil {
		return err
	}
	name := filepath.Join(r.out, fmt.Sprintf("fairlead_%s_linux_%s", r.version, arch))
	for from, to := range map[string]string{program: name, filepath.Join(stage, "sbom.json"): name + ".sbom.json"} {
		if err := os.Link(from, to); err != nil {
			return err
		}
	}
	for _, format := range r.formats {
		var err error
		if format == "image" {
			err = r.image(program, arch, name+".image.tar")
		} else {
			err = r.run(ctx, []string{"STAGE=" + stage, "ARCH=" + arch, "VERSION=" + r.version, "GOFLAGS=-mod=mod",
				"SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.at.Unix(), 10)}, "go", "run", nfpm, "package", "-f", "packaging/nfpm.yaml", "-p", format, "-t", name+"."+format)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

func checksums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var lines []string
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%x  %s\n", h.Sum(nil), e.Name()))
	}
	slices.Sort(lines)
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(strings.Join(lines, "")), 0o644)
}

// run runs a tool with its output on stderr.
func (r *release) run(ctx context.Context, env []string, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), env...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}
