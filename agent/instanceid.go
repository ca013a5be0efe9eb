package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/internal/instance"
)

const (
	instanceWithin = 2 * time.Minute  // the metadata service may be late at boot
	instanceEvery  = 10 * time.Minute // afterwards it is asked once so often
)

// instanceID finds out which EC2 instance this is, beside everything else: nothing waits for it.
type instanceID struct {
	log    *slog.Logger
	root   string // "/" but in tests
	wanted chan string

	mu sync.Mutex // guards id
	id string
}

func newInstanceID(log *slog.Logger) *instanceID {
	return &instanceID{log: log, root: "/", wanted: make(chan string, 1)}
}

// known is the id, empty as long as it is not known.
func (i *instanceID) known() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.id
}

// want has the id found out, and answers it if it is known, or was in an earlier life: stateDir is where that is kept.
func (i *instanceID) want(stateDir string) string {
	if id := i.known(); id != "" {
		return id
	}
	if id := i.recall(stateDir); id != "" {
		i.learn(id)
		return id
	}
	select {
	case i.wanted <- stateDir:
	default: // it is being asked for
	}
	return ""
}

func (i *instanceID) learn(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.id = id
}

// run asks the metadata service once somebody wants the id, until it answers or the context ends, and tells what it answered.
func (i *instanceID) run(ctx context.Context, tell func(id string)) {
	var stateDir string
	select {
	case <-ctx.Done():
		return
	case stateDir = <-i.wanted:
	}
	for window := instanceWithin; ctx.Err() == nil; window = 5 * time.Second {
		id, err := askInstance(ctx, window)
		if err == nil {
			i.learn(id)
			if err := i.keep(stateDir, id); err != nil {
				i.log.Warn("the id of the instance is not kept; it is asked for again at the next start", "err", err)
			}
			tell(id)
			return
		}
		if ctx.Err() != nil {
			return
		}
		if window == instanceWithin || errors.Is(err, instance.ErrOff) {
			i.log.Info("events have no ec2_instance_id (where that is meant so: record.instance: false)", "err", err)
		}
		if errors.Is(err, instance.ErrOff) {
			return
		}
		pause := time.NewTimer(instanceEvery)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

var instanceForm = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)

func askInstance(ctx context.Context, within time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	id, err := instance.NewIMDS().Metadata(ctx, "instance-id")
	if err == nil && !instanceForm.MatchString(id) {
		err = fmt.Errorf("the metadata service answers %.40q, which is no instance id", id)
	}
	return id, err
}

// remembered is what is kept of the id. An AMI made of this instance carries it to others, so it holds for this machine alone.
type remembered struct {
	InstanceID string `json:"instance_id"`
	Machine    string `json:"machine"`
}

func instancePath(stateDir string) string { return filepath.Join(stateDir, "instance.json") }

// recall answers what an earlier life kept, if it was on this machine.
func (i *instanceID) recall(stateDir string) string {
	var k remembered
	text, err := os.ReadFile(instancePath(stateDir))
	if err != nil || json.Unmarshal(text, &k) != nil || k.Machine == "" || k.Machine != machine(i.root) || !instanceForm.MatchString(k.InstanceID) {
		return "" // then it is asked for
	}
	return k.InstanceID
}

func (i *instanceID) keep(stateDir, id string) error {
	k := remembered{id, machine(i.root)}
	text, err := json.Marshal(k)
	if err != nil || k.Machine == "" {
		return err // nothing would tell this machine from others
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return err
	}
	path := instancePath(stateDir)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// machine tells this machine from others: by what EC2 made it with, else only as long as it runs.
func machine(root string) string {
	for _, name := range []string{"sys/class/dmi/id/product_uuid", "sys/hypervisor/uuid", "proc/sys/kernel/random/boot_id"} {
		if text, err := os.ReadFile(filepath.Join(root, name)); err == nil && len(strings.TrimSpace(string(text))) > 0 {
			return filepath.Base(name) + " " + strings.TrimSpace(string(text))
		}
	}
	return ""
}

// tellInstance has the life at work add the id to its events.
func (a *Agent) tellInstance(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now != nil && a.now.forwarder != nil {
		a.now.forwarder.SetInstance(id)
	}
}
