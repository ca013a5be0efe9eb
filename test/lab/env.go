package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairlead/fairlead/test/docker"
)

// Env is what all trials of a run use.
type Env struct {
	Run      string // a name that is unique on the machine
	Dir      string // everything is below; empty when it is not Env's to remove
	Fairlead string // binaries
	Self     string // test/reliability, which can be a receiver

	Engine *docker.Engine // nil: there is none, and NoEngine says why
	Image  string
	Logs   string // where the engine keeps its containers

	EngineVersion string
	NoEngine      error
	Left          error // why something that an earlier run left is still there; it is in nobody's way
	made          bool
}

// folders is what the names of a run's folders begin with; the process and something random follow.
const folders = "fl-lab-"

// NewEnv makes a folder and, if an engine answers, the image of the writer. Root is the top of the source tree.
func NewEnv(ctx context.Context, root, fairlead, self string) (*Env, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("must run as root: it reads Docker's logs and makes namespaces")
	}
	e := &Env{Run: fmt.Sprintf("fl-lab-%x", time.Now().UnixMilli()&0xffffffff), Fairlead: fairlead, Self: self, made: true}
	if _, err := os.Stat(fairlead); err != nil {
		return nil, fmt.Errorf("the program to try: %w (make build makes it)", err)
	}
	var err error
	if err := SweepFolders(folders); err != nil {
		return nil, fmt.Errorf("remove folders of an earlier run: %w", err)
	}
	if e.Dir, err = os.MkdirTemp("", fmt.Sprintf("%s%d-", folders, os.Getpid())); err != nil {
		return nil, err
	}
	if err := e.openEngine(ctx, root); err != nil {
		e.Engine, e.NoEngine = nil, err
	}
	return e, nil
}

func (e *Env) openEngine(ctx context.Context, root string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	engine := docker.New(e.Run)
	dir, err := engine.RootDir(ctx)
	if err != nil {
		return fmt.Errorf("no Docker engine answers: %w", err)
	}
	if e.EngineVersion, err = engine.Version(ctx); err != nil {
		return err
	}
	e.Logs = filepath.Join(dir, "containers")
	sweeping, stop := context.WithTimeout(ctx, 20*time.Second)
	e.Left = engine.Sweep(sweeping)
	stop()
	writer := filepath.Join(e.Dir, "writer")
	if err := goBuild(root, writer, "./test/writer"); err != nil {
		return err
	}
	e.Image, err = engine.ImportImage(ctx, writer)
	e.Engine = engine
	return err
}

// Close removes what NewEnv has made and the containers of all trials.
func (e *Env) Close() error {
	if !e.made {
		return nil
	}
	var errs []error
	if e.Engine != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		errs = append(errs, e.Engine.RemoveMine(ctx))
		if e.Image != "" {
			errs = append(errs, e.Engine.RemoveImage(ctx, e.Image))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(e.Dir))...)
}

// SweepFolders removes temporary folders, named by a prefix, a process and something random, whose process is no more.
func SweepFolders(prefix string) error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*-*"))
	errs := []error{err}
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		if docker.Gone(pid) {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}
