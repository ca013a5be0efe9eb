package cleanup

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// TestRaces has a real engine make volumes, containers and images while passes go on that have the shortest graces there are: what
// is garbage goes, what somebody is about to use does not.
func TestRaces(t *testing.T) {
	e := newEngine(t, 256)
	e.image("filler")
	cfg := DefaultConfig()
	cfg.VolumeGrace, cfg.Pressure.VolumeGrace, cfg.Pressure.ImageGrace = time.Second, time.Second, time.Second
	cfg.StoppedContainers = time.Second
	cfg.High, cfg.Low = 1, 1 // always under pressure
	c, _ := newCleaner(t, cfg, Host{Docker: e.host()})

	// An archive of an image, to be loaded slowly.
	r, err := e.cli.ImageSave(t.Context(), []string{"filler"})
	if err != nil {
		t.Fatal(err)
	}
	archive, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}

	var over atomic.Bool
	var made atomic.Int64
	var beside sync.WaitGroup
	// Services: containers with anonymous volumes and a volume of a task, which is made some time before its container, as the agent does.
	beside.Go(func() {
		for n := 0; !over.Load(); n++ {
			name := "ecs-web-1-data-0123456789abcdef0" + string(rune('0'+n%10)) + "00"
			if _, err := e.cli.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: name}); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(200 * time.Millisecond) // the pull
			id, err := e.tryRun(spec{bytes: 1 << 10, sleep: time.Hour, volumes: []string{name + ":/task"}})
			if err != nil {
				t.Errorf("a service does not start: %v", err)
				return
			}
			in, err := e.cli.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			for _, m := range in.Container.Mounts {
				if _, err := e.cli.VolumeInspect(t.Context(), m.Name, client.VolumeInspectOptions{}); err != nil {
					t.Errorf("the volume of a running service: %v", err)
				}
			}
			if n%3 == 2 {
				if _, err := e.cli.ContainerRemove(t.Context(), id, client.ContainerRemoveOptions{Force: true}); err != nil {
					t.Error(err)
				}
			}
			made.Add(1)
		}
	})
	// Images that arrive slowly, and are used when they are there.
	beside.Go(func() {
		for !over.Load() {
			load, err := e.cli.ImageLoad(t.Context(), &slow{r: bytes.NewReader(archive)})
			if err != nil {
				t.Error(err)
				return
			}
			_, err = io.Copy(io.Discard, load)
			if err := errors.Join(err, load.Close()); err != nil {
				t.Error(err)
			}
		}
	})
	// What the engine's own users remove is not ours to complain of.
	beside.Go(func() {
		for !over.Load() {
			v, err := e.cli.VolumeCreate(t.Context(), client.VolumeCreateOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(20 * time.Millisecond)
			if _, err := e.cli.VolumeRemove(t.Context(), v.Volume.Name, client.VolumeRemoveOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
	removed := 0
	began := time.Now()
	for time.Since(began) < 5*time.Second || made.Load() < 2 && time.Since(began) < 2*time.Minute {
		r, err := c.Pass(t.Context(), false)
		if err != nil || len(r.Errors) > 0 {
			t.Fatalf("%v, %v", err, r.Errors)
		}
		removed += r.Removed
		time.Sleep(50 * time.Millisecond)
	}
	over.Store(true)
	beside.Wait()
	t.Logf("%d services were started, %d things removed meanwhile", made.Load(), removed)
	if made.Load() < 2 {
		t.Error("hardly a service was started: the test proves little")
	}
}

// slow is read a piece at a time.
type slow struct{ r io.Reader }

func (s *slow) Read(p []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return s.r.Read(p[:min(len(p), 64<<10)])
}
