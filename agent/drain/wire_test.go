package drain

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/fairlead/fairlead/test/cloud"
)

// TestWire has the SDK's clients, over HTTP, read what the cloud of the tests answers: so it speaks AWS's wire format, and its faults are told apart.
func TestWire(t *testing.T) {
	c := cloud.New(false, ours())
	server := httptest.NewServer(c)
	defer server.Close()
	c.Add(cloud.Task{Service: "web", Stops: time.Hour})
	c.Add(cloud.Task{Stops: time.Hour})
	arns := []string{"arn:aws:ecs:eu-west-1:111122223333:task/prod/00000000000000000000000000000001", "arn:aws:ecs:eu-west-1:111122223333:task/prod/00000000000000000000000000000002"}
	ctx := t.Context()
	cfg := testAWS.Copy()
	cfg.BaseEndpoint = &server.URL
	d := New(config(nil), t.TempDir(), Parts{Cloud: func(context.Context) (Cloud, error) { return NewCloud(cfg), nil }, Metadata: c.Item, Logs: (&logs{}).parts()}, discard, nil)
	d.instance = cloud.Instance
	id := identity{cloud.Cluster, cloud.ARN}

	s, err := d.describe(ctx, id)
	if err != nil || *s.Status != "ACTIVE" || s.RunningTasksCount != 2 || s.PendingTasksCount != 0 || s.RegisteredAt.UnixMilli() != 1763719200250 {
		t.Errorf("described as %+v, %v", s, err)
	}
	if err := d.setState(ctx, id, types.ContainerInstanceStatusDraining); err != nil {
		t.Errorf("drain: %v", err)
	}
	if s, err := d.describe(ctx, id); err != nil || *s.Status != "DRAINING" {
		t.Errorf("drained it is described as %+v, %v", s, err)
	}
	var tasks *ecs.DescribeTasksOutput
	err = d.ecs(ctx, "DescribeTasks", func(ctx context.Context, c *ecs.Client) (err error) {
		tasks, err = c.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &id.Cluster, Tasks: arns})
		return err
	})
	if err != nil || len(tasks.Tasks) != 2 || *tasks.Tasks[0].Group != "service:web" || *tasks.Tasks[1].Group != "family:job" ||
		*tasks.Tasks[0].DesiredStatus != "STOPPED" || *tasks.Tasks[1].DesiredStatus != "RUNNING" {
		t.Errorf("tasks %+v, %v", tasks, err)
	}
	stop := func() error {
		return d.ecs(ctx, "StopTask", func(ctx context.Context, c *ecs.Client) error {
			_, err := c.StopTask(ctx, &ecs.StopTaskInput{Cluster: &id.Cluster, Task: &arns[1], Reason: aws.String("r")})
			return err
		})
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}

	c.Target("Terminated")
	group, timeout, err := d.findHook(ctx)
	if err != nil || group != cloud.Group || timeout != hookTime {
		t.Errorf("found %s, %s, %v", group, timeout, err)
	}
	hook := "fairlead"
	if err := d.scaling(ctx, "RecordLifecycleActionHeartbeat", func(ctx context.Context, c *autoscaling.Client) error {
		_, err := c.RecordLifecycleActionHeartbeat(ctx, &autoscaling.RecordLifecycleActionHeartbeatInput{AutoScalingGroupName: &group, LifecycleHookName: &hook, InstanceId: aws.String(cloud.Instance)})
		return err
	}); err != nil {
		t.Errorf("heartbeat: %v", err)
	}
	d.complete(ctx)
	if err := d.scaling(ctx, "CompleteLifecycleAction", func(ctx context.Context, c *autoscaling.Client) error {
		_, err := c.CompleteLifecycleAction(ctx, &autoscaling.CompleteLifecycleActionInput{AutoScalingGroupName: &group, LifecycleHookName: &hook,
			InstanceId: aws.String(cloud.Instance), LifecycleActionResult: aws.String("CONTINUE")})
		return err
	}); !noAction(err) || denied(err) {
		t.Errorf("what is completed is completed: %v", err)
	}

	c.Deny("autoscaling:DescribeLifecycleHooks", "ecs:StopTask")
	if err := d.scaling(ctx, "DescribeLifecycleHooks", func(ctx context.Context, c *autoscaling.Client) error {
		_, err := c.DescribeLifecycleHooks(ctx, &autoscaling.DescribeLifecycleHooksInput{AutoScalingGroupName: &group})
		return err
	}); !denied(err) || !strings.Contains(err.Error(), "autoscaling:DescribeLifecycleHooks: AccessDenied: User is not authorized") {
		t.Errorf("denied: %v", err)
	}
	if err := stop(); !denied(err) {
		t.Errorf("denied: %v", err)
	}
}
