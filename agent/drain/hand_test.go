package drain

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/cloud"
)

// watched is what a viewer saw.
func watched(v *Viewer) (lines []string, r Result, err error) {
	r, err = v.Watch(context.Background(), func(line string) error {
		lines = append(lines, line)
		return nil
	})
	return lines, r, err
}

// By hand: seen by who asked, looked at again when asked again, and taken back.
func TestByHand(t *testing.T) {
	c := cloud.New(false, ours())
	inTime(t, c, config(func(c *Config) { c.Spill = "s3://logs" }), func(r *rig) {
		if _, err := r.Undo(); !errors.Is(err, ErrNotOut) {
			t.Errorf("undo of nothing: %v", err)
		}
		c.Add(cloud.Task{Service: "web", Stops: 20 * time.Second})
		c.Add(cloud.Task{Own: 10 * time.Minute})
		r.logs.rate = 1000
		r.logs.write(1000)
		lines, result, err := watched(r.ByHand(time.Minute))
		if err != nil || !strings.HasPrefix(result.Failure, "1 task still runs") || r.logs.leaving || c.State() != "DRAINING" {
			t.Errorf("%+v, %v, leaving %v, %s", result, err, r.logs.leaving, c.State())
		}
		text := strings.Join(lines, "\n")
		for _, want := range []string{"asked for by hand", "ECS drains this instance", "2 tasks still run", "the time for tasks is up", "up to now"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in:\n%s", want, text)
			}
		}
		_, result, err = watched(r.ByHand(20 * time.Minute))
		if err != nil || result.Failure != "" {
			t.Errorf("asked again: %+v, %v", result, err)
		}
		if r.logs.puts != 0 || len(c.Calls("autoscaling:CompleteLifecycleAction")) != 0 {
			t.Error("more was done than was asked for")
		}

		// Another process knows of it.
		r.stop()
		r.start()
		r.reaches(Out, time.Minute)

		v, err := r.Undo()
		if err != nil {
			t.Fatal(err)
		}
		if _, result, err := watched(v); err != nil || result.Failure != "" || c.State() != "ACTIVE" {
			t.Errorf("undone: %+v, %v, %s", result, err, c.State())
		}
		r.reaches(Serving, time.Second)
		r.stop()
		r.start()
		time.Sleep(time.Minute)
		if c.State() != "ACTIVE" || r.Status().Phase != Serving {
			t.Errorf("%s, %s", c.State(), r.Status().Phase)
		}
	})
}

// Undone in the midst of it.
func TestUndoEarly(t *testing.T) {
	c := cloud.New(true)
	inTime(t, c, config(func(c *Config) { c.Rebalance = true }), func(r *rig) {
		c.Add(cloud.Task{Own: time.Hour})
		c.Recommend(`{"noticeTime":"2026-05-01T12:30:00Z"}`)
		r.reaches(Tasks, 10*time.Second)
		v, err := r.Undo()
		if err != nil {
			t.Fatal(err)
		}
		if _, result, err := watched(v); err != nil || result.Failure != "" {
			t.Errorf("%+v, %v", result, err)
		}
		time.Sleep(time.Minute) // the recommendation stands, and is overruled
		if c.State() != "ACTIVE" || r.Status().Phase != Serving {
			t.Errorf("%s, %s", c.State(), r.Status().Phase)
		}
		c.Recommend(`{"noticeTime":"2026-05-01T18:00:00Z"}`)
		r.reaches(Tasks, 10*time.Second)

		c.SpotNotice("terminate", time.Now().Add(2*time.Minute))
		r.until(10*time.Second, "heard", r.Leaving)
		if _, err := r.Undo(); err == nil || !strings.Contains(err.Error(), "cannot be undone: Spot notice") {
			t.Errorf("undo of a Spot notice: %v", err)
		}
	})
}

// ECS refuses to take it back: who asked is told what to do.
func TestUndoDenied(t *testing.T) {
	c := cloud.New(false)
	inTime(t, c, config(nil), func(r *rig) {
		if _, result, err := watched(r.ByHand(time.Minute)); err != nil || result.Failure != "" {
			t.Fatalf("%+v, %v", result, err)
		}
		c.Deny("ecs:UpdateContainerInstancesState")
		v, err := r.Undo()
		if err != nil {
			t.Fatal(err)
		}
		if _, result, err := watched(v); err != nil || !strings.Contains(result.Failure, "aws ecs update-container-instances-state --status ACTIVE") {
			t.Errorf("%+v, %v", result, err)
		}
	})
}

// No ECS agent is here: the logs are all there is.
func TestNoAgent(t *testing.T) {
	c := cloud.New(false)
	c.Agent(false)
	inTime(t, c, config(nil), func(r *rig) {
		began := time.Now()
		_, result, err := watched(r.ByHand(time.Minute))
		if took := time.Since(began); err != nil || result.Failure != "" || took > 20*time.Second || len(c.Calls("")) != 0 {
			t.Errorf("%+v, %v after %s, %d calls", result, err, took, len(c.Calls("")))
		}
	})
}

// The agent falls silent when it was known: ECS is asked, and a reload in the midst of the wait for logs does no harm.
func TestAgentFallsSilent(t *testing.T) {
	c := cloud.New(false)
	inTime(t, c, config(nil), func(r *rig) {
		c.Add(cloud.Task{Service: "web", Stops: 30 * time.Second})
		r.logs.reloads = 3
		v := r.ByHand(5 * time.Minute)
		r.until(10*time.Second, "tasks", func() bool { return r.Status().Tasks == 1 })
		c.Agent(false)
		lines, result, err := watched(v)
		if err != nil || result.Failure != "" || c.Running() != 0 || r.logs.settled != 1 {
			t.Errorf("%+v, %v, %d tasks, settled %d\n%s", result, err, c.Running(), r.logs.settled, strings.Join(lines, "\n"))
		}
	})
}

// The service is asked no more often than is needed, and one that is silent or not there less and less.
func TestGently(t *testing.T) {
	for _, k := range []struct {
		name      string
		spot      bool
		change    func(*cloud.Cloud)
		item      string
		from, to  int
		cfg       func(*Config)
		alsoNever string
	}{
		{"group", false, nil, "autoscaling/target-lifecycle-state", 800, 910, nil, "spot/instance-action"},
		{"no group", false, func(c *cloud.Cloud) { c.Target("") }, "autoscaling/target-lifecycle-state", 110, 200, nil, "events/recommendations/rebalance"},
		{"spot, no group", true, func(c *cloud.Cloud) { c.Target("") }, "autoscaling/target-lifecycle-state", 110, 200, nil, "events/recommendations/rebalance"},
		{"spot", true, nil, "spot/instance-action", 800, 910, nil, "events/recommendations/rebalance"},
		{"rebalance", true, nil, "events/recommendations/rebalance", 800, 910, func(c *Config) { c.Rebalance = true }, ""},
		{"off", true, nil, "spot/instance-action", 0, 0, func(c *Config) { c.Enabled = false }, "instance-id"},
		{"not there", false, func(c *cloud.Cloud) { c.Silence(true) }, "instance-id", 12, 25, nil, ""},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := cloud.New(k.spot)
			if k.change != nil {
				k.change(c)
			}
			inTime(t, c, config(k.cfg), func(r *rig) {
				time.Sleep(time.Hour)
				if n := c.Looks(k.item); n < k.from || n > k.to {
					t.Errorf("%s was asked for %d times in an hour, want %d to %d", k.item, n, k.from, k.to)
				}
				if n := c.Looks(k.alsoNever); n != 0 {
					t.Errorf("%s was asked for %d times", k.alsoNever, n)
				}
				if n := strings.Count(r.log.String(), "\n"); n > 1 {
					t.Errorf("%d lines in the log:\n%s", n, r.log.String())
				}
			})
		})
	}
}

// A silence in between: notices are heard soon after it, and it is said when it begins and ends.
func TestSilence(t *testing.T) {
	c := cloud.New(true)
	inTime(t, c, config(nil), func(r *rig) {
		c.Silence(true)
		time.Sleep(10 * time.Minute)
		c.SpotNotice("terminate", time.Now().Add(2*time.Minute))
		c.Silence(false)
		r.until(31*time.Second, "draining", func() bool { return c.State() == "DRAINING" })
		if text := r.log.String(); strings.Count(text, "no notices of Spot and Auto Scaling are heard") != 1 || strings.Count(text, "answers again") != 1 {
			t.Error(text)
		}
	})
}

// Switched on by a reload; switched off while a notice stands, the drain goes on.
func TestConfigure(t *testing.T) {
	c := cloud.New(false, ours())
	inTime(t, c, config(func(c *Config) { c.Enabled = false }), func(r *rig) {
		c.Add(cloud.Task{Service: "web", Stops: time.Minute})
		c.Target("InService")
		r.Configure(config(nil))
		time.Sleep(10 * time.Second)
		c.Target("Terminated")
		r.reaches(Tasks, 6*time.Second)
		r.Configure(config(func(c *Config) { c.Enabled = false }))
		r.reaches(Out, 5*time.Minute)
		if completed, _ := c.Hook("fairlead"); completed.IsZero() {
			t.Error("the hook waits on")
		}
	})
}

func TestValidate(t *testing.T) {
	for _, k := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Wait = 0 }, "drain.wait: 0s is out of range: use 1s to 48h"},
		{func(c *Config) { c.Hook = managedHook }, "drain.hook: ecs-managed-draining-termination-hook is ECS's own"},
		{func(c *Config) { c.Hook = "a b" }, `drain.hook: "a b" is no name of a lifecycle hook`},
		{func(c *Config) { c.Spill = "bucket" }, `drain.spill: "bucket" is no place in S3`},
		{func(c *Config) { c.Hook, c.Spill = "a/b-C_1", "s3://b/p/" }, ""},
	} {
		c := DefaultConfig()
		k.change(&c)
		if err := c.Validate(); (err == nil) != (k.want == "") || err != nil && !strings.HasPrefix(err.Error(), k.want) {
			t.Errorf("%v, want %s", err, k.want)
		}
	}
}
