package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/fairlead/fairlead/internal/fault"
	"github.com/fairlead/fairlead/internal/introspection"
)

const (
	callWithin    = 10 * time.Second
	firstRetry    = 500 * time.Millisecond
	maxRetry      = 15 * time.Second // the calls about instances are throttled by account
	agentWithin   = 10 * time.Second // for an ECS agent that may be starting
	agentEvery    = 2 * time.Second
	tasksEvery    = time.Second // the agent of this host is asked: that costs nobody anything
	confirmEvery  = 5 * time.Second
	stopEvery     = 15 * time.Second
	maxDescribe   = 100 // tasks in a call
	servicePrefix = "service:"
)

// aws answers AWS, found when it is first needed.
func (d *Drain) aws(ctx context.Context) (Cloud, error) {
	d.cloudMu.Lock()
	defer d.cloudMu.Unlock()
	if d.cloud == nil {
		c, err := d.parts.Cloud(ctx)
		if err != nil {
			return Cloud{}, err
		}
		d.cloud = &c
	}
	return *d.cloud, nil
}

// renew has the next call find its credentials anew where AWS did not know those of this one, as after a change of the instance's role: the
// SDK would keep them until they expire.
func (d *Drain) renew(err error) {
	if fault.IsStale(err) {
		d.cloudMu.Lock()
		d.cloud = nil
		d.cloudMu.Unlock()
	}
}

// call makes one call of an API of AWS.
func (d *Drain) call(ctx context.Context, action string, f func(context.Context, Cloud) error) error {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	c, err := d.aws(ctx)
	if err == nil {
		if err = f(ctx, c); err != nil {
			d.renew(err)
			err = fmt.Errorf("%s: %w", action, fault.Plain(err))
		}
	}
	if err != nil && !noAction(err) {
		d.metrics.failed(action)
	}
	return err
}

func (d *Drain) ecs(ctx context.Context, action string, f func(context.Context, *ecs.Client) error) error {
	return d.call(ctx, "ecs:"+action, func(ctx context.Context, c Cloud) error { return f(ctx, c.ecs) })
}

// retry calls f until it succeeds, is denied, or the context ends. It waits ever longer, each host of a group another time. What fails is
// logged when it begins, and when it has ended.
func (d *Drain) retry(ctx context.Context, what string, f func(context.Context) error) error {
	wait := firstRetry
	for n := 0; ; n++ {
		err := f(ctx)
		switch {
		case err == nil && n > 0:
			d.log.Info("it works now", "what", what, "attempts", n+1)
			return nil
		case err == nil:
			return nil
		case denied(err):
			d.once(what, slog.LevelWarn, "the role of this instance may not "+what+"; going on with what this host knows", "err", err)
			return err
		case errors.Is(err, errGone):
			d.tell(slog.LevelWarn, fmt.Sprintf("%s: %v", what, err))
			return err
		case n == 0:
			d.tell(slog.LevelWarn, fmt.Sprintf("%s: tried again: %v", what, err))
		}
		if !pause(ctx, wait/2+rand.N(wait)) {
			if !errors.Is(context.Cause(ctx), context.Canceled) { // else it is not wanted any more
				d.tell(slog.LevelError, fmt.Sprintf("%s: given up after %d attempts: %v", what, n+1, err))
			}
			return err
		}
		wait = min(2*wait, maxRetry)
	}
}

// identify asks the ECS agent which container instance this is. Where it does not answer, what it said before holds.
func (d *Drain) identify(ctx context.Context) (identity, bool) {
	d.mu.Lock()
	id := d.note.Identity
	d.mu.Unlock()
	by := time.Now().Add(agentWithin)
	for {
		m, err := d.parts.Agent.Metadata(ctx)
		if err == nil {
			now := identity{m.Cluster, m.ContainerInstanceArn}
			d.mu.Lock()
			if d.note.Identity != now {
				d.note.Identity = now
				d.keep()
			}
			d.mu.Unlock()
			return now, true
		}
		if id.ARN != "" {
			return id, true
		}
		if !time.Now().Before(by) || !pause(ctx, agentEvery) {
			d.once("agent", slog.LevelWarn, "no ECS agent answers on this host: only its logs are looked after", "err", err)
			return identity{}, false
		}
	}
}

// drainInstance has ECS place no more tasks here, and stop those of services.
func (d *Drain) drainInstance(ctx context.Context, id identity) {
	err := d.setState(ctx, id, types.ContainerInstanceStatusDraining)
	if err == nil {
		text := "ECS drains this instance: no tasks are placed here any more, those of services are replaced and stopped"
		d.tell(slog.LevelInfo, text, "container_instance", id.ARN)
		d.event("draining", text, nil)
	}
}

// errGone is of a container instance that somebody has deregistered: ECS neither places nor stops anything there.
var errGone = errors.New("ECS does not know this container instance any more")

const (
	missing     = "MISSING"
	missingOnce = 3 // answers in a row: an agent that registers anew takes a moment
	inactive    = "INACTIVE"
)

func (d *Drain) setState(ctx context.Context, id identity, state types.ContainerInstanceStatus) error {
	gone := 0
	return d.retry(ctx, "set the instance "+string(state), func(ctx context.Context) error {
		var out *ecs.UpdateContainerInstancesStateOutput
		err := d.ecs(ctx, "UpdateContainerInstancesState", func(ctx context.Context, c *ecs.Client) (err error) {
			out, err = c.UpdateContainerInstancesState(ctx, &ecs.UpdateContainerInstancesStateInput{Cluster: &id.Cluster, ContainerInstances: []string{id.ARN}, Status: state})
			return err
		})
		if err == nil && len(out.Failures) == 0 {
			return nil
		}
		if err == nil { // an answer with status 200 says so what was not done
			f := &out.Failures[0]
			err = fmt.Errorf("ecs:UpdateContainerInstancesState: %s", strings.TrimSpace(aws.ToString(f.Reason)+" "+aws.ToString(f.Detail)))
			was := id
			if again, ok := d.identify(ctx); ok { // it may have been registered anew
				id = again
			}
			if gone++; aws.ToString(f.Reason) != missing || id != was {
				gone = 0
			}
			if gone >= missingOnce {
				return errGone
			}
		}
		if code := fault.Code(err); !denied(err) && strings.HasSuffix(code, "Exception") && !strings.HasPrefix(code, "Throttling") {
			if now, derr := d.describe(ctx, id); derr == nil && aws.ToString(now.Status) == string(state) {
				return nil // as wanted already, and so ECS will not change it
			}
		}
		return err
	})
}

// describe answers what ECS knows of the instance.
func (d *Drain) describe(ctx context.Context, id identity) (types.ContainerInstance, error) {
	var out *ecs.DescribeContainerInstancesOutput
	err := d.ecs(ctx, "DescribeContainerInstances", func(ctx context.Context, c *ecs.Client) (err error) {
		out, err = c.DescribeContainerInstances(ctx, &ecs.DescribeContainerInstancesInput{Cluster: &id.Cluster, ContainerInstances: []string{id.ARN}})
		return err
	})
	if err != nil {
		return types.ContainerInstance{}, err
	}
	if len(out.ContainerInstances) > 0 && aws.ToString(out.ContainerInstances[0].Status) == inactive {
		return types.ContainerInstance{}, errGone
	}
	if len(out.ContainerInstances) == 0 {
		var why []string
		for i := range out.Failures {
			f := &out.Failures[i]
			if aws.ToString(f.Reason) == missing {
				return types.ContainerInstance{}, errGone
			}
			why = append(why, strings.TrimSpace(aws.ToString(f.Arn)+" "+aws.ToString(f.Reason)+" "+aws.ToString(f.Detail)))
		}
		return types.ContainerInstance{}, fmt.Errorf("ecs:DescribeContainerInstances: %v", why)
	}
	return out.ContainerInstances[0], nil
}

// awaitTasks waits until no task runs on the instance, and answers those that still do when the time is up. As long as ECS was not
// told, more may be placed here.
func (d *Drain) awaitTasks(ctx context.Context, id identity, ecsTold <-chan struct{}) (left []string) {
	var asked, stopped, told time.Time
	var silent error
	empty, before := 0, -1
	for {
		tasks, err := d.running(ctx)
		known := err == nil
		switch {
		case err != nil && ctx.Err() == nil && (silent == nil || silent.Error() != err.Error()):
			silent = err
			d.tell(slog.LevelWarn, "the ECS agent does not say which tasks run", "err", err)
		case err == nil && silent != nil:
			silent = nil
			d.tell(slog.LevelInfo, "the ECS agent answers again")
		}
		if known {
			left = tasks
			empty++
			if len(tasks) > 0 {
				empty = 0
			}
		}
		// What was placed in the last moment is known to ECS before it is to the agent; and a silent agent says nothing.
		if (empty >= 2 || !known) && time.Since(asked) >= confirmEvery && closed(ecsTold) && ctx.Err() == nil {
			asked = time.Now()
			s, err := d.describe(ctx, id)
			switch {
			case err == nil && s.RunningTasksCount+s.PendingTasksCount == 0:
				d.counted(0)
				d.tell(slog.LevelInfo, "no task runs on this instance any more")
				return nil
			case err == nil:
				left = slices.Repeat([]string{"one that only ECS knows of"}, int(s.RunningTasksCount+s.PendingTasksCount))
			case denied(err), errors.Is(err, errGone):
				text := "the role of this instance may not describe it; the ECS agent's list of tasks counts alone"
				if errors.Is(err, errGone) {
					text = "ECS does not say which tasks run; the ECS agent's list of tasks counts alone"
				}
				d.once("describe", slog.LevelWarn, text, "err", err)
				if empty >= 2 {
					d.counted(0)
					d.tell(slog.LevelInfo, "no task runs on this instance any more, as the ECS agent says")
					return nil
				}
			case ctx.Err() == nil:
				d.log.Debug("ECS does not say how many tasks run", "err", err)
			}
		}
		n := len(left)
		d.counted(n)
		if n > 0 && (n != before || time.Since(told) > 6*tellEvery) {
			before, told = n, time.Now()
			d.tell(slog.LevelInfo, stillRun(left))
		}
		if known && n > 0 && empty == 0 && d.config().StopStandalone && time.Since(stopped) >= stopEvery {
			stopped = time.Now()
			d.stopStandalone(ctx, id, tasks)
		}
		if !pause(ctx, tasksEvery) {
			if timeUp(ctx) && len(left) > 0 {
				d.tell(slog.LevelWarn, "the time for tasks is up, "+stillRun(left))
				d.event("tasks_left", stillRun(left), map[string]any{"tasks": int64(len(left))})
			}
			return left
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// running are the ARNs of the tasks that have not stopped.
func (d *Drain) running(ctx context.Context) ([]string, error) {
	tasks, err := d.parts.Agent.Tasks(ctx)
	if err != nil {
		return nil, err
	}
	var arns []string
	for _, t := range tasks {
		if t.KnownStatus != introspection.Stopped {
			arns = append(arns, t.Arn)
		}
	}
	return arns, nil
}

// stopStandalone stops the tasks of no service: ECS leaves them running.
func (d *Drain) stopStandalone(ctx context.Context, id identity, arns []string) {
	for chunk := range slices.Chunk(arns, maxDescribe) {
		var out *ecs.DescribeTasksOutput
		err := d.ecs(ctx, "DescribeTasks", func(ctx context.Context, c *ecs.Client) (err error) {
			out, err = c.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &id.Cluster, Tasks: chunk})
			return err
		})
		if err != nil {
			if denied(err) {
				d.once("tasks", slog.LevelWarn, "the role of this instance may not tell tasks of services from others; none is stopped", "err", err)
			} else if ctx.Err() == nil {
				d.tell(slog.LevelWarn, "which tasks belong to no service is not known; asked again", "err", err)
			}
			return
		}
		for i := range out.Tasks {
			t := &out.Tasks[i]
			arn, group := aws.ToString(t.TaskArn), aws.ToString(t.Group)
			if strings.HasPrefix(group, servicePrefix) || aws.ToString(t.DesiredStatus) == introspection.Stopped {
				continue
			}
			reason := "fairlead: the container instance is taken out of service (" + d.standing().kinds() + ")"
			err := d.ecs(ctx, "StopTask", func(ctx context.Context, c *ecs.Client) error {
				_, err := c.StopTask(ctx, &ecs.StopTaskInput{Cluster: &id.Cluster, Task: &arn, Reason: &reason})
				return err
			})
			switch {
			case err == nil:
				d.tell(slog.LevelInfo, "a task of no service is stopped", "task", arn, "group", group)
				d.event("stopped_task", "a task of no service is stopped: "+arn, map[string]any{"ecs_task_arn": arn})
			case denied(err):
				d.once("stop", slog.LevelWarn, "the role of this instance may not stop tasks; those of no service are waited for", "err", err)
				return
			case ctx.Err() == nil:
				d.tell(slog.LevelWarn, "a task of no service is not stopped; tried again", "task", arn, "err", err)
			}
		}
	}
}
