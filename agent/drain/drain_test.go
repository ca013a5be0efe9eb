package drain

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/test/cloud"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hookTime = 2 * time.Minute

func ours() *cloud.Hook    { return &cloud.Hook{Name: "fairlead", Timeout: hookTime} }
func managed() *cloud.Hook { return &cloud.Hook{Name: managedHook, Timeout: time.Hour} }

func config(change func(*Config)) Config {
	c := DefaultConfig()
	c.Hook = "fairlead"
	if change != nil {
		change(&c)
	}
	return c
}

// Scale-in: the instance is drained, its tasks end, its logs arrive, and only then the hook is completed: ours, and nobody else's.
func TestScaleIn(t *testing.T) {
	c := cloud.New(false, managed(), ours())
	inTime(t, c, config(nil), func(r *rig) {
		for range 3 {
			c.Add(cloud.Task{Service: "web", Stops: 40 * time.Second})
		}
		r.logs.rate = 200
		r.logs.write(50_000) // 250 s, longer than the hook waits by itself
		began := time.Now()
		c.Target("Terminated")
		reaction := r.until(6*time.Second, "draining", func() bool { return c.State() == "DRAINING" })
		t.Logf("drained %s after the notice", reaction)
		r.reaches(Forwarding, time.Minute)
		if c.Running() != 0 || !r.logs.leaving {
			t.Errorf("forwarding with %d tasks, leaving %v", c.Running(), r.logs.leaving)
		}
		r.reaches(Out, 5*time.Minute)
		completed, expired := c.Hook("fairlead")
		if left := r.logs.left(); left != 0 || completed.IsZero() || !expired.IsZero() || completed.Sub(began) < 249*time.Second {
			t.Errorf("%d events left, hook completed after %s, expired %v", left, completed.Sub(began), expired)
		}
		if m, _ := c.Hook(managedHook); !m.IsZero() {
			t.Error("ECS's own hook was completed")
		}
		beats := c.Calls("autoscaling:RecordLifecycleActionHeartbeat")
		if n := len(beats); n < 6 || n > 20 || r.metric("fairlead_drain_heartbeats_total") != float64(n) {
			t.Errorf("%d heartbeats in 250 s, counted %v", n, r.metric("fairlead_drain_heartbeats_total"))
		}
		time.Sleep(10 * time.Minute) // nothing more happens
		if n := len(c.Calls("")); n > 6+len(beats)+15 || len(c.Calls("autoscaling:CompleteLifecycleAction")) != 1 || len(c.Calls("autoscaling:RecordLifecycleActionHeartbeat")) != len(beats) {
			t.Errorf("%d calls, of them %v", n, c.Calls("autoscaling:CompleteLifecycleAction"))
		}
		if got := r.logs.phases(); got != "notice draining delivered" {
			t.Errorf("events %s", got)
		}
		if s := r.Status(); s.Result == nil || s.Result.Failure != "" || s.Hook == nil || !s.Hook.Completed || s.Hook.Group != cloud.Group {
			t.Errorf("status %+v", s)
		}
	})
}

// Two minutes of a Spot instance: drain, forward, spill, in this order and all of it in time.
func TestSpot(t *testing.T) {
	c := cloud.New(true)
	inTime(t, c, config(func(c *Config) { c.Spill = "s3://logs/spilled" }), func(r *rig) {
		c.Add(cloud.Task{Service: "web", Stops: 30 * time.Second})
		c.Add(cloud.Task{Service: "slow", Stops: 10 * time.Minute})
		r.logs.rate = 100
		r.logs.write(20_000)
		ends := time.Now().Add(2 * time.Minute)
		c.SpotNotice("terminate", ends)
		r.until(6*time.Second, "draining", func() bool { return c.State() == "DRAINING" })
		r.reaches(Forwarding, 2*time.Minute)
		if left := time.Until(ends); left < 30*time.Second {
			t.Errorf("tasks were waited for until %s before the end", left)
		}
		r.reaches(Out, 2*time.Minute)
		if left := time.Until(ends); left < 15*time.Second {
			t.Errorf("spilled %s before the end", left)
		}
		want := r.Status().Spilled
		if want == nil || want.Failure != "" || int(want.Events) != r.logs.puts || want.Objects < 2 || want.To != "s3://logs/spilled/"+cloud.Instance+"/" {
			t.Fatalf("spilled %+v, and in fact %d", want, r.logs.puts)
		}
		n := 0
		for key, text := range r.bin.objects {
			if !strings.HasPrefix(key, "/logs/spilled/"+cloud.Instance+"/") || !strings.HasSuffix(key, ".seg") {
				t.Errorf("object %s", key)
			}
			n += strings.Count(text, "\n")
		}
		if n != r.logs.puts || r.metric("fairlead_drain_spilled_events_total") != float64(n) {
			t.Errorf("%d records in S3, %d were given, counted %v", n, r.logs.puts, r.metric("fairlead_drain_spilled_events_total"))
		}
		if got := r.logs.phases(); got != "notice draining tasks_left gave_up spilled" {
			t.Errorf("events %s", got)
		}
		if s := r.Status(); s.Result == nil || !strings.Contains(s.Result.Failure, "1 task still runs") || !strings.Contains(s.Result.Failure, "not delivered") {
			t.Errorf("result %+v", s.Result)
		}
	})
}

// All was delivered, and then the receiver fails while the instance still lives: what came since is spilled before the end.
func TestSpotFailsLate(t *testing.T) {
	c := cloud.New(true)
	inTime(t, c, config(func(c *Config) { c.Spill = "s3://logs" }), func(r *rig) {
		r.logs.rate = 1000
		r.logs.write(100)
		c.SpotNotice("terminate", time.Now().Add(2*time.Minute))
		r.reaches(Out, time.Minute)
		if s := r.Status(); s.Result == nil || s.Result.Failure != "" || s.Spilled != nil {
			t.Errorf("%+v", s)
		}
		r.logs.receives(0)
		r.logs.write(50)
		r.until(2*time.Minute, "spilled", func() bool { return r.Status().Spilled != nil })
		if r.logs.puts != 50 {
			t.Errorf("%d events spilled, want 50", r.logs.puts)
		}
	})
}

// A Spot notice in the midst of another drain brings the end nearer.
func TestSpotDuringRebalance(t *testing.T) {
	c := cloud.New(true)
	inTime(t, c, config(func(c *Config) { c.Rebalance, c.Spill = true, "s3://logs" }), func(r *rig) {
		c.Add(cloud.Task{Service: "web", Stops: time.Hour})
		r.logs.write(10) // and nobody takes them
		c.Recommend(`{"noticeTime":"2026-05-01T12:30:00Z"}`)
		r.reaches(Tasks, 10*time.Second)
		if r.logs.leaving {
			t.Error("a recommendation ends no host")
		}
		time.Sleep(time.Minute)
		ends := time.Now().Add(2 * time.Minute)
		c.SpotNotice("terminate", ends)
		r.until(time.Until(ends), "spilled", func() bool { return r.Status().Spilled != nil })
		if r.logs.puts != 10 || !r.logs.leaving {
			t.Errorf("%d spilled, leaving %v", r.logs.puts, r.logs.leaving)
		}
	})
}

// The agent has drained it as well, and so has ECS; calls fail, answers hold failures: none of it matters.
func TestOthersBesideUs(t *testing.T) {
	c := cloud.New(true, managed(), ours())
	inTime(t, c, config(nil), func(r *rig) {
		r.logs.rate = 1000
		c.Fail("ecs:UpdateContainerInstancesState", "ThrottlingException", "failure:MISSING", "ServerException", "failure:INTERNAL")
		c.Fail("autoscaling:DescribeAutoScalingInstances", "Throttling", "InternalFailure")
		c.Fail("autoscaling:RecordLifecycleActionHeartbeat", "Throttling")
		c.Fail("autoscaling:CompleteLifecycleAction", "ResourceContention", "Throttling")
		c.SpotNotice("terminate", time.Now().Add(2*time.Minute))
		c.Target("Terminated")
		r.reaches(Out, 90*time.Second)
		if completed, _ := c.Hook("fairlead"); c.State() != "DRAINING" || completed.IsZero() {
			t.Errorf("%s, hook completed %s", c.State(), completed)
		}
		if n := r.metric("fairlead_drain_call_failures_total"); n < 6 {
			t.Errorf("%v failures counted", n)
		}
	})
}

// ECS says that it is in the state already, in the form of an error.
func TestAlreadyDraining(t *testing.T) {
	c := cloud.New(false, ours())
	inTime(t, c, config(nil), func(r *rig) {
		c.Target("Terminated")
		r.reaches(Out, time.Minute)
		time.Sleep(2 * time.Minute)
		r.stop()
		c.Fail("ecs:UpdateContainerInstancesState", "InvalidParameterException")
		r.start() // another process, the notice stands
		r.reaches(Out, time.Minute)
		if n := len(c.Calls("ecs:UpdateContainerInstancesState")); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
	})
}

// A role that may do nothing: what this host knows is enough for the logs, and each lack is said once.
func TestDenied(t *testing.T) {
	c := cloud.New(false, ours())
	inTime(t, c, config(func(c *Config) { c.StopStandalone, c.Spill = true, "s3://logs" }), func(r *rig) {
		r.bin.deny = true
		c.Deny("ecs:UpdateContainerInstancesState", "ecs:DescribeContainerInstances", "ecs:DescribeTasks", "autoscaling:DescribeAutoScalingInstances",
			"autoscaling:DescribeLifecycleHooks", "autoscaling:RecordLifecycleActionHeartbeat", "autoscaling:CompleteLifecycleAction")
		c.Add(cloud.Task{Own: 40 * time.Second})
		r.logs.rate = 100
		r.logs.write(10_000)
		c.Target("Terminated")
		r.reaches(Out, 5*time.Minute)
		if r.logs.left() != 0 || c.Running() != 0 {
			t.Errorf("%d events left, %d tasks", r.logs.left(), c.Running())
		}
		for _, want := range []string{"may not set the instance DRAINING", "may not describe it;", "may not tell tasks of services", "the lifecycle hook is not kept waiting", "may not complete the lifecycle hook"} {
			if n := strings.Count(r.log.String(), want); n != 1 {
				t.Errorf("%q is said %d times, want once", want, n)
			}
		}
	})
}

// The group's name comes from the tags, where describing is denied; without the hook's time the heartbeats come often.
func TestGroupFromTags(t *testing.T) {
	c := cloud.New(false, &cloud.Hook{Name: "fairlead", Timeout: 30 * time.Second})
	c.Tags()
	c.Deny("autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLifecycleHooks")
	inTime(t, c, config(nil), func(r *rig) {
		r.logs.rate = 10
		r.logs.write(3000)
		c.Target("Terminated")
		r.reaches(Out, 6*time.Minute)
		if completed, expired := c.Hook("fairlead"); completed.IsZero() || !expired.IsZero() {
			t.Errorf("completed %s, expired %s", completed, expired)
		}
	})
}

// The hook is not there: said plainly, and the drain goes on.
func TestNoSuchHook(t *testing.T) {
	launching := ours()
	launching.Launch = true
	c := cloud.New(false, managed(), launching)
	inTime(t, c, config(nil), func(r *rig) {
		c.Target("Terminated")
		r.reaches(Out, time.Minute)
		if !strings.Contains(r.log.String(), `has no lifecycle hook \"fairlead\" for autoscaling:EC2_INSTANCE_TERMINATING (it has: `+managedHook) || len(c.Calls("autoscaling:CompleteLifecycleAction")) != 0 {
			t.Error(r.log.String())
		}
	})
}

// The target state is seen before the hook waits.
func TestHookBeginsLate(t *testing.T) {
	h := ours()
	h.Late = 20 * time.Second
	c := cloud.New(false, h)
	inTime(t, c, config(nil), func(r *rig) {
		c.Target("Terminated")
		r.reaches(Out, time.Minute)
		if completed, _ := c.Hook("fairlead"); completed.IsZero() {
			t.Error("not completed")
		}
	})
}

// Standalone tasks are stopped where that is asked for, and waited for where not.
func TestStandalone(t *testing.T) {
	for _, stop := range []bool{false, true} {
		t.Run(fmt.Sprint(stop), func(t *testing.T) {
			c := cloud.New(false, ours())
			inTime(t, c, config(func(c *Config) { c.StopStandalone = stop }), func(r *rig) {
				c.Add(cloud.Task{Stops: 20 * time.Second})
				c.Add(cloud.Task{Service: "web", Stops: 20 * time.Second})
				c.Fail("ecs:StopTask", "ServerException")
				began := time.Now()
				c.Target("Terminated")
				r.reaches(Out, 15*time.Minute)
				took, n := time.Since(began), len(c.Calls("ecs:StopTask"))
				failed := r.Status().Result.Failure != ""
				if stop != (n == 2) || stop != (took < time.Minute) || failed == stop || stop == (n == 0) {
					t.Errorf("%d tasks stopped, out after %s, failed %v", n, took, failed)
				}
				if completed, _ := c.Hook("fairlead"); completed.IsZero() {
					t.Error("the hook waits on")
				}
			})
		})
	}
}

// The instance goes into the warm pool and comes back, after its process ended and began again.
func TestWarmPool(t *testing.T) {
	c := cloud.New(false, ours())
	inTime(t, c, config(nil), func(r *rig) {
		c.Target("Warmed:Stopped")
		r.reaches(Out, time.Minute)
		if completed, _ := c.Hook("fairlead"); completed.IsZero() || c.State() != "DRAINING" {
			t.Errorf("%s, completed %s", c.State(), completed)
		}
		r.stop()
		c.Target("InService")
		c.Fail("ecs:UpdateContainerInstancesState", "ServerException", "ThrottlingException")
		r.start()
		r.until(time.Minute, "ACTIVE", func() bool { return c.State() == "ACTIVE" && r.Status().Phase == Serving })
		if r.logs.leaving || !strings.HasSuffix(r.logs.phases(), "active") {
			t.Errorf("leaving %v, events %s", r.logs.leaving, r.logs.phases())
		}
		n := len(c.Calls(""))
		r.stop()
		r.start()
		time.Sleep(time.Minute)
		if got := len(c.Calls("")); got != n {
			t.Errorf("%d more calls for an instance in service", got-n)
		}
	})
}

// What was never in service is not drained on its way into the warm pool; what an operator has drained is not taken back.
func TestNotOurs(t *testing.T) {
	c := cloud.New(false, ours())
	c.Target("Warmed:Stopped")
	inTime(t, c, config(nil), func(r *rig) {
		time.Sleep(time.Minute)
		if n := len(c.Calls("")); n != 0 || r.Status().Phase != Serving {
			t.Errorf("%d calls, %s", n, r.Status().Phase)
		}
		c.Target("InService")
		time.Sleep(time.Minute)
		c.Target("Standby")
		time.Sleep(time.Minute)
		c.Target("InService")
		time.Sleep(time.Minute)
		if n := len(c.Calls("")); n != 0 {
			t.Errorf("%d calls", n)
		}
	})
}

// An AMI that was made of a drained instance carries its note to others.
func TestNoteOfAnother(t *testing.T) {
	c := cloud.New(false)
	inTime(t, c, config(nil), func(r *rig) {
		r.stop()
		if err := replace(r.notePath(), []byte(`{"instance":"i-99999999999999999","in_service":true,"out":true,"causes":[{"kind":"hand"}]}`)); err != nil {
			t.Fatal(err)
		}
		r.start()
		time.Sleep(time.Minute)
		if n := len(c.Calls("")); n != 0 || r.Status().Phase != Serving {
			t.Errorf("%d calls, %s", n, r.Status().Phase)
		}
	})
}

// A Spot instance that was stopped and started again finds no notice any more.
func TestSpotWithdrawn(t *testing.T) {
	c := cloud.New(true)
	inTime(t, c, config(nil), func(r *rig) {
		c.SpotNotice("stop", time.Now().Add(2*time.Minute))
		r.reaches(Out, time.Minute)
		r.stop()
		c.SpotNotice("", time.Time{})
		r.start()
		r.until(time.Minute, "ACTIVE", func() bool { return c.State() == "ACTIVE" && r.Status().Phase == Serving })
	})
}
