package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/test/docker"
)

// container is a real one that writes bursts of lines on both streams, with pauses between.
type container struct {
	name, id string
	progress string // the file in which it counts
	stopped  bool
}

// longestPause between bursts is longer than an idle timeout; the shortest is a twentieth of it.
const longestPause = 5 * time.Second

func (l *lane) createContainer(ctx context.Context, seed uint64) error {
	e := l.t.env
	c := container{name: fmt.Sprintf("%s-%s", e.Run, filepath.Base(l.dir)), progress: filepath.Join(l.dir, "written")}
	pauses := l.t.setup.pauses
	if pauses == 0 {
		pauses = longestPause
	}
	spec := docker.Spec{Image: e.Image, Name: c.name, Mount: l.dir, Args: []string{"-bursts", "-writer", c.name, "-progress", "/progress/written",
		"-pause-min", (pauses / 20).String(), "-pause-max", pauses.String(), "-seed", strconv.FormatUint(seed, 10)}}
	if l.subject != Fairlead {
		spec.Driver = "fluentd"
		spec.Log = map[string]string{"fluentd-address": l.driverAddress(), "fluentd-async": strconv.FormatBool(l.subject != DockerSync && l.subject != ThroughSync),
			"fluentd-request-ack": strconv.FormatBool(l.subject == ThroughAck), "tag": "docker.{{.Name}}"}
	}
	var err error
	if c.id, err = e.Engine.Create(ctx, spec); err != nil {
		return err
	}
	l.container = c
	l.ledger.Expect(c.name, 'o')
	l.ledger.Expect(c.name, 'e')
	return nil
}

// driverAddress is what Docker's driver is told: the balancer, or a fairlead on this host.
func (l *lane) driverAddress() string {
	if l.subject.through() {
		return "unix://" + l.socket()
	}
	return l.addresses()[0]
}

// stop asks the writer to end, and tells the ledger how much there is.
func (c *container) stop(ctx context.Context, e *docker.Engine, l *Ledger) error {
	if err := e.Stop(ctx, c.id); err != nil {
		return err
	}
	code, err := e.Wait(ctx, c.id)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("the writer %s ended with exit code %d", c.name, code)
	}
	c.stopped = true
	b, err := os.ReadFile(c.progress)
	if err != nil {
		return err
	}
	for i := range len(b) / 8 {
		l.Wrote(c.name, "oe"[i], int(binary.LittleEndian.Uint64(b[8*i:])))
	}
	return nil
}

func (c *container) remove(ctx context.Context, e *docker.Engine) error {
	if c.id == "" {
		return nil
	}
	return docker.IgnoreGone(e.Remove(ctx, c.id))
}
