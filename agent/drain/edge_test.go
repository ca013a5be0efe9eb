package drain

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/cloud"
)

// hookDone says when our hook was completed, and fails the test where its time was up instead.
func (r *rig) hookDone(within time.Duration) {
	r.t.Helper()
	r.until(within, "the hook is completed", func() bool {
		completed, expired := r.aws.Hook("fairlead")
		if !expired.IsZero() {
			r.t.Fatalf("the time of the hook was up\n%s", r.log.String())
		}
		return !completed.IsZero()
	})
}

// From the warm pool, where it runs on, to its end: a transition of its own, with logs and a hook of its own, and a disk that ends.
func TestWarmPoolEnds(t *testing.T) {
	c := cloud.New(false, ours())
	inTime(t, c, config(func(c *Config) { c.Spill = "s3://logs" }), func(r *rig) {
		c.Target("Warmed:Running")
		r.hookDone(time.Minute)
		time.Sleep(time.Hour)
		r.logs.write(10) // and nobody takes them
		c.Target("Warmed:Terminated")
		time.Sleep(5 * time.Minute)
		if _, expired := c.Hook("fairlead"); !expired.IsZero() || r.logs.puts != 0 {
			t.Fatalf("the hook is not kept waiting: expired %s, %d events spilled", expired, r.logs.puts)
		}
		r.hookDone(10 * time.Minute)
		if n := r.logs.lost(); n != 0 {
			t.Errorf("%d events end with the disk", n)
		}
	})
}

// An instance of the warm pool that was never in service ends: nobody else completes its hook.
func TestWarmPoolNeverServed(t *testing.T) {
	c := cloud.New(false, ours())
	c.Target("Warmed:Running")
	inTime(t, c, config(nil), func(r *rig) {
		c.Target("Warmed:Terminated")
		r.hookDone(time.Minute)
	})
}

// Back from the warm pool and out again before ECS has taken it back, and out again while somebody has it drained by hand: the hook waits
// anew, so it is kept and completed anew.
func TestOutAgain(t *testing.T) {
	for _, byHand := range []bool{false, true} {
		c := cloud.New(false, ours())
		inTime(t, c, config(nil), func(r *rig) {
			c.Target("Warmed:Running")
			r.hookDone(time.Minute)
			if byHand {
				r.ByHand(time.Hour)
			} else {
				c.Fail("ecs:UpdateContainerInstancesState", "ServerException", "ServerException", "ServerException", "ServerException", "ServerException", "ServerException")
			}
			c.Target("InService")
			r.until(10*time.Second, "heard", func() bool { return !r.Leaving() })
			r.logs.receives(10)
			r.logs.write(3000) // five minutes; the hook waits two by itself
			c.Target("Terminated")
			r.hookDone(10 * time.Minute)
			if n := r.logs.lost(); n != 0 {
				t.Errorf("by hand %v: %d events end with the host", byHand, n)
			}
		})
	}
}

// Somebody drains it by hand, with little time for tasks, and the logs are waited for when Auto Scaling takes it out: the tasks have all the
// time of that, and the hook waits for them.
func TestLifecycleDuringHand(t *testing.T) {
	c := cloud.New(false, ours())
	inTime(t, c, config(nil), func(r *rig) {
		c.Add(cloud.Task{Service: "web", Stops: 3 * time.Minute})
		r.logs.receives(10)
		r.logs.write(1000)
		v := r.ByHand(50 * time.Second)
		r.reaches(Forwarding, time.Minute)
		c.Target("Terminated")
		r.hookDone(10 * time.Minute)
		if n := c.Running(); n != 0 {
			t.Errorf("the hook was completed while %d tasks ran", n)
		}
		if _, result, err := watched(v); err != nil || result.Failure != "" {
			t.Errorf("%+v, %v", result, err)
		}
	})
}

// All was delivered, and then, before the hook is completed, lines come and the receiver fails: they are waited for, and spilled.
func TestReceiverFailsLast(t *testing.T) {
	c := cloud.New(false, ours())
	c.Fail("autoscaling:DescribeAutoScalingInstances", "Throttling", "Throttling", "Throttling", "Throttling")
	inTime(t, c, config(func(c *Config) { c.Spill = "s3://logs" }), func(r *rig) {
		say := r.parts.Logs.Say
		r.parts.Logs.Say = func(ctx context.Context, at time.Time, record map[string]any) error {
			if record["phase"] == "delivered" {
				r.logs.receives(0)
				r.logs.write(5)
			}
			return say(ctx, at, record)
		}
		r.logs.receives(100)
		c.Target("Terminated")
		r.hookDone(15 * time.Minute)
		if n := r.logs.lost(); n != 0 {
			t.Errorf("%d events end with the host", n)
		}
	})
}

// What may not be completed is not kept waiting either: it goes on when its own time is up.
func TestCompleteDenied(t *testing.T) {
	c := cloud.New(false, ours())
	c.Deny("autoscaling:CompleteLifecycleAction")
	inTime(t, c, config(nil), func(r *rig) {
		c.Target("Terminated")
		r.reaches(Out, 5*time.Minute)
		time.Sleep(hookTime + time.Second)
		if _, expired := c.Hook("fairlead"); expired.IsZero() {
			t.Errorf("the hook waits on, after %d heartbeats", len(c.Calls("autoscaling:RecordLifecycleActionHeartbeat")))
		}
	})
}

// S3 is down when what is left is to be spilled: the hook waits, and nothing is put twice.
func TestSpillTriedAgain(t *testing.T) {
	c := cloud.New(false, ours())
	inTime(t, c, config(func(c *Config) { c.Spill, c.Wait = "s3://logs", time.Minute }), func(r *rig) {
		r.logs.write(4500)
		r.logs.set(func() { r.logs.aside = 1 })
		r.bin.set(func() { r.bin.down = true })
		c.Target("Terminated")
		r.reaches(Spilling, 2*time.Minute)
		time.Sleep(90 * time.Second)
		if completed, _ := c.Hook("fairlead"); !completed.IsZero() {
			t.Fatal("the hook is completed while lines are neither acknowledged nor in S3")
		}
		r.bin.set(func() { r.bin.down = false })
		r.hookDone(time.Minute)
		if n := r.logs.lost(); n != 0 || r.logs.puts != 4501 {
			t.Errorf("%d events end with the host, %d were put", n, r.logs.puts)
		}
	})
}

// A bucket that takes nothing is not waited for.
func TestSpillRefused(t *testing.T) {
	c := cloud.New(false, ours())
	inTime(t, c, config(func(c *Config) { c.Spill, c.Wait = "s3://logs", time.Minute }), func(r *rig) {
		r.logs.write(4500)
		r.bin.set(func() { r.bin.deny = true })
		c.Target("Terminated")
		r.hookDone(90 * time.Second)
		if s := r.Status().Spilled; r.bin.asked != 1 || s == nil || s.Failure == "" {
			t.Errorf("%d requests, %+v", r.bin.asked, s)
		}
	})
}

// What the receiver refuses for good ends with the disk, also where all else is delivered.
func TestSpillsAside(t *testing.T) {
	c := cloud.New(false, ours())
	inTime(t, c, config(func(c *Config) { c.Spill = "s3://logs" }), func(r *rig) {
		r.logs.set(func() { r.logs.aside = 2 })
		c.Target("Terminated")
		r.hookDone(time.Minute)
		if r.logs.puts != 2 {
			t.Errorf("%d frames are in S3, want 2", r.logs.puts)
		}
	})
}

// A clock that is wrong: two minutes are two minutes, and what was heard has not happened yet.
func TestSpotClock(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		c := cloud.New(true)
		inTime(t, c, config(func(c *Config) { c.Spill = "s3://logs" }), func(r *rig) {
			r.logs.write(10)
			c.SpotNotice("terminate", time.Now().Add(2*time.Minute+off))
			r.until(2*time.Minute, "spilled", func() bool { return r.Status().Spilled != nil })
			if n := r.logs.lost(); n != 0 || len(r.Status().Causes) != 1 {
				t.Errorf("%s: %d events end with the host; %+v", off, n, r.Status())
			}
			time.Sleep(time.Minute)
			if n := strings.Count(r.log.String(), "does not fit this host's clock"); n != 1 {
				t.Errorf("said %d times", n)
			}
		})
	}
}

// A hook waits no longer than its global timeout, however often it hears from us: what is left is spilled before.
func TestGlobalTimeout(t *testing.T) {
	h := ours()
	h.Global = 20 * time.Minute
	c := cloud.New(false, h)
	inTime(t, c, config(func(c *Config) { c.Spill, c.Wait = "s3://logs", time.Hour }), func(r *rig) {
		r.logs.write(10)
		c.Target("Terminated")
		r.hookDone(20 * time.Minute)
		if n := r.logs.lost(); n != 0 {
			t.Errorf("%d events end with the host", n)
		}
	})
}

// Heartbeats are denied, so the hook waits for its own time: what is left is spilled before.
func TestHeartbeatDenied(t *testing.T) {
	c := cloud.New(false, ours())
	c.Deny("autoscaling:RecordLifecycleActionHeartbeat")
	inTime(t, c, config(func(c *Config) { c.Spill = "s3://logs" }), func(r *rig) {
		r.logs.write(10)
		c.Target("Terminated")
		r.hookDone(hookTime)
		if n := r.logs.lost(); n != 0 {
			t.Errorf("%d events end with the host", n)
		}
	})
}

// The role of the instance has changed, and AWS does not know the former credentials: they are asked for anew.
func TestStaleCredentials(t *testing.T) {
	c := cloud.New(false, ours())
	inTime(t, c, config(nil), func(r *rig) {
		c.Fail("ecs:UpdateContainerInstancesState", "UnrecognizedClientException", "ExpiredTokenException")
		c.Fail("autoscaling:DescribeAutoScalingInstances", "InvalidClientTokenId")
		c.Target("Terminated")
		r.hookDone(time.Minute)
		if c.State() != "DRAINING" || r.clouds < 3 {
			t.Errorf("%s, credentials were found %d times", c.State(), r.clouds)
		}
	})
}

// Undone while nobody says which instance this is, after a restart.
func TestUndoWithoutMetadata(t *testing.T) {
	c := cloud.New(false)
	inTime(t, c, config(nil), func(r *rig) {
		if _, result, err := watched(r.ByHand(time.Minute)); err != nil || result.Failure != "" {
			t.Fatalf("%+v, %v", result, err)
		}
		r.stop()
		c.Silence(true)
		r.start()
		v, err := r.Undo()
		if err != nil {
			t.Fatal(err)
		}
		r.until(time.Minute, "ACTIVE", func() bool { return c.State() == "ACTIVE" })
		if _, result, err := watched(v); err != nil || result.Failure != "" {
			t.Errorf("%+v, %v", result, err)
		}
	})
}

// Somebody has deregistered the container instance: what is left to do is done, without waiting for ECS.
func TestDeregistered(t *testing.T) {
	c := cloud.New(false, ours())
	c.Deregister()
	inTime(t, c, config(nil), func(r *rig) {
		c.Add(cloud.Task{Service: "web", Own: 30 * time.Second})
		c.Target("Terminated")
		r.reaches(Tasks, 20*time.Second)
		r.hookDone(2 * time.Minute)
		if c.Running() != 0 {
			t.Error("the task was not waited for")
		}
	})
}

// ECS does not answer: tasks are followed all the same, and those that run are told of.
func TestECSDown(t *testing.T) {
	c := cloud.New(false, ours())
	inTime(t, c, config(func(c *Config) { c.Wait = 2 * time.Minute }), func(r *rig) {
		var codes []string
		for range 100 {
			codes = append(codes, "ServerException")
		}
		c.Fail("ecs:UpdateContainerInstancesState", codes...)
		c.Add(cloud.Task{Service: "web"})
		c.Target("Terminated")
		r.until(20*time.Second, "tasks counted", func() bool { return r.Status().Tasks == 1 })
		r.reaches(Out, 3*time.Minute)
		if s := r.Status(); !strings.Contains(s.Result.Failure, "1 task still runs") {
			t.Errorf("%+v", s.Result)
		}
	})
}

// The time is up when the next process begins, whose spool takes a moment to open: nothing is given up without a look.
func TestStartsAtTheEnd(t *testing.T) {
	c := cloud.New(false, &cloud.Hook{Name: "fairlead", Timeout: time.Hour})
	inTime(t, c, config(func(c *Config) { c.Spill = "s3://logs" }), func(r *rig) {
		r.logs.write(30)
		c.Target("Terminated")
		r.reaches(Forwarding, time.Minute)
		r.stop()
		time.Sleep(20 * time.Minute)
		r.logs.set(func() { r.logs.off = true })
		r.start()
		time.Sleep(5 * time.Second)
		r.logs.set(func() { r.logs.off = false })
		r.logs.receives(1)
		r.hookDone(5 * time.Minute)
		if n := r.logs.lost(); n != 0 || r.logs.puts != 0 {
			t.Errorf("%d events end with the host, %d were spilled", n, r.logs.puts)
		}
	})
}
