package scalein

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	rcv "github.com/fairlead/fairlead/internal/receiver"
	"github.com/fairlead/fairlead/test/cloud"
)

// TestScaleIn: an instance with 50,000 un-acked lines and a slow receiver is taken out of service. Nothing is lost, the hook is completed in
// time, heartbeats are seen. What varies with the seed: the shape of the end (a lifecycle hook; a Spot notice and a receiver that does not
// come back, so that the rest is spilled and replayed on another host; a lifecycle hook with the receiver restarting and the daemon killed
// in the midst of it), when tasks end, what is removed when. Three seeds, with FAIRLEAD_SOAK a hundred; FAIRLEAD_TEST_SEED is one.
func TestScaleIn(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if os.Getenv("FAIRLEAD_SOAK") != "" {
		seeds = seeds[:0]
		for i := range uint64(100) {
			seeds = append(seeds, i+1)
		}
	}
	if v := os.Getenv("FAIRLEAD_TEST_SEED"); v != "" {
		seed, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			switch seed % 3 {
			case 0:
				killed(t, seed)
			case 1:
				scaledIn(t, seed)
			case 2:
				interrupted(t, seed)
			}
		})
	}
}

const (
	before    = 50_000 // lines that are un-acked at the notice
	perTask   = 1_000  // lines that a task writes on its way out
	tasks     = 3
	all       = before + tasks*perTask
	hookTime  = 9 * time.Second
	slow      = 2_000_000 // bytes a second that the receiver takes: ten seconds for all
	slower    = 500_000
	patience  = 3 * time.Minute
	afterward = 20 * time.Second // for what is spilled at the end of a Spot instance
)

// begin starts the daemon, whose receiver takes nothing yet, and writes the lines before the notice. The tasks write theirs when they are
// asked to stop; done is closed when they have.
func begin(h *host) (done chan struct{}) {
	h.recv.Set(rcv.Behaviour{NoAcks: true})
	h.start(h.conf)
	var list []*container
	for i := range tasks + 1 {
		list = append(list, h.container(i))
	}
	for n := 0; n < before; {
		k := min(before-n, 1+h.rand.IntN(3000))
		if err := list[h.rand.IntN(len(list))].write(n, n+k); err != nil {
			h.t.Fatal(err)
		}
		n += k
	}
	for range tasks {
		h.aws.Add(cloud.Task{Service: "web", Stops: time.Duration(1000+h.rand.IntN(4000)) * time.Millisecond})
	}
	removals := make([]time.Duration, tasks)
	for i := range removals {
		removals[i] = time.Duration(h.rand.IntN(3000)) * time.Millisecond
	}
	done = make(chan struct{})
	stopped := make(chan struct{})
	h.t.Cleanup(func() { close(stopped) })
	go func() {
		defer close(done)
		for h.aws.State() != "DRAINING" {
			select {
			case <-stopped:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
		for i := range tasks { // their last words, while they are being stopped
			c := list[i]
			for n := 0; n < perTask; n += 100 {
				from := before + i*perTask + n
				if err := c.write(from, from+100); err != nil {
					h.t.Error(err)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
		for h.aws.Running() > 0 {
			select {
			case <-stopped:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
		for i := range tasks { // the agent cleans up behind them
			time.Sleep(removals[i])
			if err := list[i].remove(); err != nil {
				h.t.Error(err)
			}
		}
	}()
	time.Sleep(time.Duration(h.rand.IntN(1500)) * time.Millisecond)
	return done
}

// reaction is how long after the notice ECS was told.
func (h *host) reaction(notice time.Time) time.Duration {
	h.t.Helper()
	h.until(30*time.Second, "draining", func() bool { return h.aws.State() == "DRAINING" })
	took := h.aws.Calls("ecs:UpdateContainerInstancesState")[0].At.Sub(notice)
	h.t.Logf("ECS was told %s after the notice", took.Round(time.Millisecond))
	return took
}

// completed waits for the hook and says what was wrong with how it was kept.
func (h *host) completed(notice time.Time, beats int) {
	h.t.Helper()
	h.until(patience, "completed", func() bool {
		at, expired := h.aws.Hook("fairlead")
		return !at.IsZero() || !expired.IsZero()
	})
	at, expired := h.aws.Hook("fairlead")
	n := 0
	for _, c := range h.aws.Calls("autoscaling:RecordLifecycleActionHeartbeat") {
		if c.Result == "" {
			n++
		}
	}
	h.t.Logf("hook completed after %s, %d heartbeats", at.Sub(notice).Round(time.Millisecond), n)
	if at.IsZero() || !expired.IsZero() || n < beats {
		h.t.Errorf("hook completed %v, expired %v, %d heartbeats, want %d at least", at, expired, n, beats)
	}
	if other, _ := h.aws.Hook("ecs-managed-draining-termination-hook"); !other.IsZero() {
		h.t.Error("ECS's own hook was completed")
	}
}

func hooks() []*cloud.Hook {
	return []*cloud.Hook{{Name: "fairlead", Timeout: hookTime}, {Name: "ecs-managed-draining-termination-hook", Timeout: time.Hour}}
}

// scaledIn: all is delivered, slowly, while the hook waits. The host ends the moment the hook is completed.
func scaledIn(t *testing.T, seed uint64) {
	h := newHost(t, seed, cloud.New(false, hooks()...), "drain: {hook: fairlead}\n")
	done := begin(h)
	h.recv.Set(rcv.Behaviour{BytesPerSecond: slow, AckDelay: 200 * time.Millisecond})
	h.recv.DropConnections()
	notice := time.Now()
	h.aws.Target("Terminated")
	h.reaction(notice)
	h.completed(notice, 2)
	h.kill()
	<-done
	if lost := h.missing(all); len(lost) > 0 {
		t.Errorf("lost: %v...", lost)
	}
	if !slices.Contains(h.reports, "delivered") {
		t.Errorf("reports %v", h.reports)
	}
	t.Logf("%d repeated", h.repeats())
}

// killed: the receiver restarts, and the daemon is killed and started again, while the hook waits.
func killed(t *testing.T, seed uint64) {
	h := newHost(t, seed, cloud.New(false, hooks()...), "drain: {hook: fairlead}\n")
	done := begin(h)
	h.recv.Set(rcv.Behaviour{BytesPerSecond: slow})
	h.recv.DropConnections()
	notice := time.Now()
	h.aws.Target("Terminated")
	h.reaction(notice)
	for range 1 + h.rand.IntN(2) {
		time.Sleep(time.Duration(h.rand.IntN(1500)) * time.Millisecond)
		h.recv.Kill()
		time.Sleep(time.Duration(h.rand.IntN(500)) * time.Millisecond)
		h.do(h.recv.Restart)
		if h.rand.IntN(2) == 0 {
			h.kill()
			h.start(h.conf)
		}
	}
	h.completed(notice, 1)
	h.kill()
	<-done
	if lost := h.missing(all); len(lost) > 0 {
		t.Errorf("lost: %v...", lost)
	}
	t.Logf("%d repeated", h.repeats())
}

// interrupted: a Spot instance whose receiver takes some of it and then no more. What is left is spilled before the end, and replayed
// on another host.
func interrupted(t *testing.T, seed uint64) {
	h := newHost(t, seed, cloud.New(true), "drain: {spill: \"s3://logs/spilled\"}\n")
	done := begin(h)
	h.recv.Set(rcv.Behaviour{BytesPerSecond: slower})
	h.recv.DropConnections()
	notice := time.Now()
	ends := notice.Add(25*time.Second + afterward) // sooner than the two minutes, for a short test
	h.aws.SpotNotice("terminate", ends)
	h.reaction(notice)
	<-done
	time.Sleep(time.Duration(h.rand.IntN(2000)) * time.Millisecond)
	h.recv.Kill()
	var spilled atomic.Bool
	h.until(time.Until(ends)+5*time.Second, "spilled", func() bool {
		text, _ := os.ReadFile(h.dir + "/fairlead.log")
		spilled.Store(strings.Contains(string(text), "events that were not acknowledged are in s3://logs/spilled/"+cloud.Instance+"/"))
		return spilled.Load()
	})
	t.Logf("spilled %s before the end", time.Until(ends).Round(time.Millisecond))
	h.kill()
	if err := os.RemoveAll(h.dir + "/fairlead"); err != nil { // the disk ends with the host
		t.Fatal(err)
	}
	gone := len(h.missing(all)) > 0
	h.recv.Set(rcv.Behaviour{})
	h.do(h.recv.Restart)
	other := h.config("other", "sources: {containers: {enabled: false}, host: {enabled: false}, journal: {units: []}, listen: {tcp: \"\", unix: \"\"}}\ndrain: {enabled: false}\n")
	h.start(other)
	h.until(10*time.Second, "another host", func() bool { _, err := os.Stat(h.dir + "/other.sock"); return err == nil })
	out := h.fairlead("replay", "--config", other, "s3://logs/spilled/")
	if !gone || !strings.Contains(out, "into the spool") {
		t.Errorf("something was to be missing: %v; replay said:\n%s", gone, out)
	}
	for deadline := time.Now().Add(30 * time.Second); len(h.missing(all)) > 0 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	if lost := h.missing(all); len(lost) > 0 {
		t.Errorf("lost: %v...", lost)
	}
	t.Logf("%d repeated", h.repeats())
}
