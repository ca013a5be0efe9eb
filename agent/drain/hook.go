package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/smithy-go"
)

// hook is the lifecycle hook of ours, as far as it is known.
type hook struct {
	group     string // of the instance; empty: not known yet
	timeout   time.Duration
	missing   bool // the group has no such hook
	letGo     bool // it is being completed, so it is kept waiting no longer, however that ends
	completed bool
	beats     int
}

// terminating is the transition that our hook is of: the way out of the service, to the end or into the warm pool.
const terminating = "autoscaling:EC2_INSTANCE_TERMINATING"

const (
	unknownBeat = 10 * time.Second // the shortest timeout of a hook is 30 s
	maxBeat     = 5 * time.Minute
	hookRetry   = 5 * time.Second
	hookReserve = time.Minute // of the time after which a hook ends whatever we do, for the last steps; a third of it at most
)

func (d *Drain) scaling(ctx context.Context, action string, f func(context.Context, *autoscaling.Client) error) error {
	return d.call(ctx, "autoscaling:"+action, func(ctx context.Context, c Cloud) error { return f(ctx, c.scaling) })
}

// noAction says that the hook is not waiting: it was completed, or its time was up, or it has not begun.
func noAction(err error) bool {
	var f smithy.APIError
	return errors.As(err, &f) && f.ErrorCode() == "ValidationError" && strings.Contains(f.ErrorMessage(), "No active Lifecycle Action")
}

var (
	errNoHook  = errors.New("the group has no such hook")
	errNoGroup = errors.New("the group of this instance is not known")
)

// findHook finds the group of the instance, and how long its hook waits. It asks once, if that succeeds.
func (d *Drain) findHook(ctx context.Context) (group string, timeout time.Duration, err error) {
	d.hookFind.Lock()
	defer d.hookFind.Unlock()
	d.mu.Lock()
	h, instance, name := d.hook, d.instance, d.cfg.Hook
	d.mu.Unlock()
	switch {
	case h.missing:
		return "", 0, errNoHook
	case h.group != "":
		return h.group, h.timeout, nil
	case instance == "":
		return "", 0, errors.New("the id of this instance is not known")
	}
	var found *autoscaling.DescribeAutoScalingInstancesOutput
	err = d.scaling(ctx, "DescribeAutoScalingInstances", func(ctx context.Context, c *autoscaling.Client) (err error) {
		found, err = c.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{instance}})
		return err
	})
	switch {
	case err == nil && len(found.AutoScalingInstances) > 0:
		group = aws.ToString(found.AutoScalingInstances[0].AutoScalingGroupName)
	case err == nil || denied(err):
		// The tag says it as well, where the metadata service is told to show tags.
		tag, terr := d.parts.Metadata(ctx, "tags/instance/aws:autoscaling:groupName")
		if terr != nil || tag == "" {
			return "", 0, fmt.Errorf("%w (allow autoscaling:DescribeAutoScalingInstances, or show tags in the metadata service): %w", errNoGroup, errors.Join(err, terr))
		}
		group = tag
	default:
		return "", 0, err
	}
	var hooks *autoscaling.DescribeLifecycleHooksOutput
	err = d.scaling(ctx, "DescribeLifecycleHooks", func(ctx context.Context, c *autoscaling.Client) (err error) {
		hooks, err = c.DescribeLifecycleHooks(ctx, &autoscaling.DescribeLifecycleHooksInput{AutoScalingGroupName: &group})
		return err
	})
	missing, most := false, time.Duration(0)
	switch {
	case err == nil:
		var names []string
		missing = true
		for i := range hooks.LifecycleHooks {
			o := &hooks.LifecycleHooks[i]
			names = append(names, aws.ToString(o.LifecycleHookName))
			if aws.ToString(o.LifecycleHookName) == name && aws.ToString(o.LifecycleTransition) == terminating {
				missing, timeout = false, time.Duration(aws.ToInt32(o.HeartbeatTimeout))*time.Second
				most = time.Duration(aws.ToInt32(o.GlobalTimeout)) * time.Second
			}
		}
		if missing {
			d.tell(slog.LevelError, fmt.Sprintf("drain.hook: the group %s has no lifecycle hook %q for "+terminating+" (it has: %s); this instance may end before its logs are delivered",
				group, name, strings.Join(names, ", ")))
		}
	case denied(err):
		d.once("hooks", slog.LevelWarn, "the role of this instance may not describe lifecycle hooks; a heartbeat is sent every "+unknownBeat.String(), "err", err)
	default:
		return "", 0, err
	}
	d.mu.Lock()
	d.hook.group, d.hook.timeout, d.hook.missing = group, timeout, missing
	d.mu.Unlock()
	if missing {
		return "", 0, errNoHook
	}
	d.endsAfter(most, "the lifecycle hook waits no longer in all than its global timeout, 100 times its own: drain.wait is cut")
	return group, timeout, nil
}

// endsAfter notes that the hook ends so long after it began, whatever we do; 0: it is not known. What is left is to be spilled before that.
func (d *Drain) endsAfter(most time.Duration, why string) {
	c := d.standing().of(Lifecycle)
	if most <= 0 || c == nil {
		return
	}
	reserve := hookReserve
	if d.config().Spill != "" {
		reserve += spillReserve
	}
	d.shorten(c.Began.Add(most-min(reserve, most/3)), why)
}

// keepHook keeps our hook waiting by heartbeats from when Auto Scaling takes the instance out until it is completed.
func (d *Drain) keepHook(ctx context.Context) {
	for ctx.Err() == nil {
		changed := d.changes()
		d.mu.Lock()
		wanted := d.cfg.Hook != "" && d.causes.of(Lifecycle) != nil && !d.hook.completed && !d.hook.letGo && !d.hook.missing
		name := d.cfg.Hook
		d.mu.Unlock()
		next := maxWait
		if wanted {
			next = d.beat(ctx, name)
		}
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-changed:
			if wanted { // a heartbeat was sent a moment ago
				select {
				case <-ctx.Done():
				case <-t.C:
				case <-time.After(hookRetry):
				}
			}
		}
		t.Stop()
	}
}

// beat sends a heartbeat and answers when the next is due.
func (d *Drain) beat(ctx context.Context, name string) time.Duration {
	group, timeout, err := d.findHook(ctx)
	if err == nil {
		id := d.instanceID()
		err = d.scaling(ctx, "RecordLifecycleActionHeartbeat", func(ctx context.Context, c *autoscaling.Client) error {
			_, err := c.RecordLifecycleActionHeartbeat(ctx, &autoscaling.RecordLifecycleActionHeartbeatInput{AutoScalingGroupName: &group, LifecycleHookName: &name, InstanceId: &id})
			return err
		})
	}
	every := unknownBeat
	if timeout > 0 {
		every = min(timeout/3, maxBeat)
	}
	switch {
	case err == nil:
		d.mu.Lock()
		d.hook.beats++
		first := d.hook.beats == 1
		d.mu.Unlock()
		d.metrics.heartbeats.Inc()
		if first {
			d.tell(slog.LevelInfo, "the lifecycle hook is kept waiting by heartbeats", "hook", name, "group", group, "every", every)
		}
		return every - rand.N(every/10+1)
	case errors.Is(err, errNoHook), ctx.Err() != nil:
		return maxWait
	case noAction(err):
		d.log.Debug("the lifecycle hook does not wait, or not yet", "hook", name)
	case denied(err), errors.Is(err, errNoGroup):
		d.once("beat", slog.LevelError, "the lifecycle hook is not kept waiting: it goes on when its own time is up", "hook", name, "err", err)
		d.endsAfter(timeout, "the lifecycle hook goes on by itself: drain.wait is cut")
		return maxBeat
	default:
		d.once("beating", slog.LevelWarn, "a heartbeat fails; tried again", "hook", name, "err", err)
	}
	return min(every, hookRetry)
}

func (d *Drain) instanceID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.instance
}

// complete tells our hook that Auto Scaling may go on. From now on no heartbeat is sent: where this is denied or does not succeed, the hook
// goes on when its own time is up, and not when ours has kept it for two days.
func (d *Drain) complete(ctx context.Context) {
	d.enter(Completing)
	d.mu.Lock()
	name := d.cfg.Hook
	d.hook.letGo = true
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	completed := false
	_ = d.retry(ctx, "complete the lifecycle hook", func(ctx context.Context) error { // it says itself what became of it
		group, _, err := d.findHook(ctx)
		if errors.Is(err, errNoHook) {
			return nil
		}
		if err != nil {
			return err
		}
		id := d.instanceID()
		err = d.scaling(ctx, "CompleteLifecycleAction", func(ctx context.Context, c *autoscaling.Client) error {
			_, err := c.CompleteLifecycleAction(ctx, &autoscaling.CompleteLifecycleActionInput{AutoScalingGroupName: &group, LifecycleHookName: &name,
				InstanceId: &id, LifecycleActionResult: aws.String("CONTINUE")})
			return err
		})
		if noAction(err) && !d.hookBegins() {
			err = nil // its time was up, or somebody else has completed it
		}
		completed = err == nil
		return err
	})
	if !completed {
		return
	}
	d.mu.Lock()
	d.hook.completed = d.hook.letGo // else it is of a transition that is over
	d.mu.Unlock()
	d.tell(slog.LevelInfo, "the lifecycle hook is completed: Auto Scaling goes on", "hook", name)
}

// hookBegins says whether the hook may not have begun to wait: the target state may be seen before that.
func (d *Drain) hookBegins() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.causes.of(Lifecycle)
	return d.hook.beats == 0 && c != nil && time.Since(c.Began) < hookBegin
}

const (
	reportWithin   = 5 * time.Second // for our own last words
	completeWithin = 2 * time.Minute
	hookBegin      = time.Minute
)
