package drain

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/cloud"
)

// TestSchedules takes instances away by chance: notices that come, change and vanish, commands, kills of the daemon at any moment, calls that
// fail, receivers and an S3 that come and go, lines all the while. Whatever the order, our hook is not completed, and does not run out, as
// long as there is a line from before that is neither acknowledged nor in S3; it is completed in the end, and what goes back into service is
// ACTIVE.
func TestSchedules(t *testing.T) {
	n := uint64(40)
	if os.Getenv("FAIRLEAD_SOAK") != "" {
		n = 3000
	}
	for seed := range n {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { schedule(t, seed) })
	}
}

// settled is how long before the completion what was written is to be safe: what is told to others is tried for two minutes at the most.
const settled = completeWithin + 30*time.Second

func schedule(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a schedule is no secret
	spot := rnd.IntN(2) == 0
	c := cloud.New(spot, managed(), ours())
	cfg := config(func(c *Config) {
		c.Spill, c.Rebalance, c.StopStandalone = "s3://logs/s", rnd.IntN(2) == 0, rnd.IntN(2) == 0
		c.Wait = time.Duration(1+rnd.IntN(20)) * time.Minute
	})
	inTime(t, c, cfg, func(r *rig) {
		var story []string
		did := func(format string, args ...any) {
			story = append(story, time.Now().Format("15:04:05.0 ")+fmt.Sprintf(format, args...))
		}
		wrong := func(format string, args ...any) {
			t.Helper()
			t.Errorf("seed %d: %s\n%s\n--\n%s", seed, fmt.Sprintf(format, args...), strings.Join(story, "\n"), r.log.String())
		}
		r.logs.receives(rnd.IntN(300))
		var mu sync.Mutex // guards what follows
		final, s3 := false, time.Time{}
		set := func(f func()) {
			mu.Lock()
			defer mu.Unlock()
			f()
		}
		c.OnComplete(func() {
			mu.Lock()
			defer mu.Unlock()
			if lost := r.logs.lostFrom(time.Now().Add(-settled)); lost > 0 && final && time.Since(s3) > spillWithin+settled {
				t.Errorf("seed %d: at %s the hook is completed with %d events neither acknowledged nor in S3\n%s", seed, time.Now().Format("15:04:05"), lost, r.log.String())
			}
		})
		failing := false
		steps := 5 + rnd.IntN(25)
		for range steps {
			switch k := rnd.IntN(15); k {
			case 0, 1:
				n := rnd.IntN(3000)
				r.logs.write(n)
				did("%d lines", n)
			case 2:
				rate := []int{0, 5, 50, 1000}[rnd.IntN(4)]
				r.logs.receives(rate)
				did("receiver takes %d/s", rate)
			case 3:
				down := rnd.IntN(2) == 0
				r.bin.set(func() { r.bin.down = down })
				set(func() { s3 = time.Now() })
				if down {
					set(func() { s3 = time.Now().Add(24 * time.Hour) })
				}
				did("S3 down %v", down)
			case 4:
				target := []string{"InService", "Terminated", "Warmed:Running", "Warmed:Terminated", "InService"}[rnd.IntN(5)]
				set(func() { final = ends(target) })
				c.Target(target)
				did("target %s", target)
			case 5:
				if spot {
					in := time.Duration(rnd.IntN(130)) * time.Second
					c.SpotNotice([]string{"terminate", "stop"}[rnd.IntN(2)], time.Now().Add(in))
					did("spot in %s", in)
				}
			case 6:
				c.SpotNotice("", time.Time{})
				did("no spot")
			case 7:
				c.Recommend([]string{"", `{"noticeTime":"2026-05-01T12:30:00Z"}`, `{"noticeTime":"2026-05-01T13:30:00Z"}`}[rnd.IntN(3)])
				did("recommendation")
			case 8:
				wait := time.Duration(1+rnd.IntN(300)) * time.Second
				r.ByHand(wait)
				did("by hand %s", wait)
			case 9:
				_, err := r.Undo()
				did("undo: %v", err)
			case 10, 11:
				did("killed")
				r.stop()
				time.Sleep(time.Duration(rnd.IntN(20)) * time.Second)
				r.logs.Leave(false)
				r.start()
				did("started")
			case 12:
				if failing { // so often that there is no completing it
					continue
				}
				failing = true
				for _, a := range []string{"ecs:UpdateContainerInstancesState", "ecs:DescribeContainerInstances", "autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"} {
					for range rnd.IntN(4) {
						c.Fail(a, []string{"ThrottlingException", "ServerException", "ExpiredTokenException", "UnrecognizedClientException"}[rnd.IntN(4)])
					}
				}
				did("calls fail")
			case 13:
				c.Add(cloud.Task{Service: []string{"web", ""}[rnd.IntN(2)], Stops: time.Duration(rnd.IntN(100)) * time.Second, Own: time.Duration(1+rnd.IntN(300)) * time.Second})
				did("task")
			case 14:
				on := rnd.IntN(2) == 0
				c.Agent(on)
				did("agent %v", on)
			}
			time.Sleep(time.Duration(rnd.IntN(60_000)) * time.Millisecond)
			if _, expired := c.Hook("fairlead"); !expired.IsZero() {
				wrong("the time of the hook was up")
				return
			}
		}
		// In the end all works again, and the instance goes, or is in service.
		c.Agent(true)
		c.SpotNotice("", time.Time{})
		c.Recommend("")
		r.bin.set(func() { r.bin.down = false })
		set(func() { s3 = time.Now() })
		r.logs.receives(1000)
		if rnd.IntN(2) == 0 {
			c.Target("InService")
			did("at the end InService")
			time.Sleep(time.Minute)
			_, err := r.Undo() // what was asked for by hand stands as long as something else did
			did("undo: %v", err)
			time.Sleep(5 * time.Minute)
			if c.State() != "ACTIVE" || r.Status().Phase != Serving {
				wrong("back in service it is %s, %s", c.State(), r.Status().Phase)
			}
		} else {
			set(func() { final = true })
			c.Target("Terminated")
			did("at the end Terminated")
			time.Sleep(30 * time.Minute)
			if completed, expired := c.Hook("fairlead"); completed.IsZero() || !expired.IsZero() {
				wrong("at the end the hook is completed %s, expired %s", completed, expired)
			}
		}
		if m, _ := c.Hook(managedHook); !m.IsZero() {
			wrong("ECS's own hook was completed")
		}
	})
}
