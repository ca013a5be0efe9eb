package drain

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
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

// Where the SDK's clients turn to: by partition, and by what the environment says of FIPS and VPC endpoints.
func TestEndpoints(t *testing.T) {
	for _, k := range []struct {
		region       string
		env          map[string]string
		ecs, scaling string
	}{
		{"eu-west-1", nil, "ecs.eu-west-1.amazonaws.com", "autoscaling.eu-west-1.amazonaws.com"},
		{"cn-north-1", nil, "ecs.cn-north-1.amazonaws.com.cn", "autoscaling.cn-north-1.amazonaws.com.cn"},
		{"us-gov-west-1", nil, "ecs.us-gov-west-1.amazonaws.com", "autoscaling.us-gov-west-1.amazonaws.com"},
		{"us-east-1", map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}, "ecs-fips.us-east-1.amazonaws.com", "autoscaling-fips.us-east-1.amazonaws.com"},
		{"eu-west-1", map[string]string{"AWS_ENDPOINT_URL_ECS": "https://vpce-1.ecs.example", "AWS_ENDPOINT_URL_AUTO_SCALING": "https://vpce-1.autoscaling.example"},
			"vpce-1.ecs.example", "vpce-1.autoscaling.example"},
	} {
		t.Run(k.region, func(t *testing.T) {
			for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_CONFIG_FILE": "/none",
				"AWS_SHARED_CREDENTIALS_FILE": "/none", "AWS_ENDPOINT_URL": "", "AWS_REGION": k.region} {
				t.Setenv(name, value)
			}
			for name, value := range k.env {
				t.Setenv(name, value)
			}
			cfg, err := awsconfig.LoadDefaultConfig(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var hosts []string
			cfg.HTTPClient = &http.Client{Transport: asked(func(r *http.Request) { hosts = append(hosts, r.URL.Host) })}
			d := New(config(nil), t.TempDir(), Parts{Cloud: func(context.Context) (Cloud, error) { return NewCloud(cfg), nil }, Logs: (&logs{}).parts()}, discard, nil)
			_, ecsErr := d.describe(t.Context(), identity{cloud.Cluster, cloud.ARN})
			scalingErr := d.scaling(t.Context(), "DescribeLifecycleHooks", func(ctx context.Context, c *autoscaling.Client) error {
				_, err := c.DescribeLifecycleHooks(ctx, &autoscaling.DescribeLifecycleHooksInput{AutoScalingGroupName: aws.String("g")})
				return err
			})
			if got := strings.Join(hosts, " "); got != k.ecs+" "+k.scaling || ecsErr == nil || scalingErr == nil {
				t.Errorf("asked %s, %v, %v", got, ecsErr, scalingErr)
			}
		})
	}
}

// asked hears requests, and answers none.
type asked func(*http.Request)

func (f asked) RoundTrip(r *http.Request) (*http.Response, error) {
	f(r)
	return nil, errors.New("nobody is there")
}
