package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/fairlead/fairlead/internal/fault"
)

// ServiceEvent is what ECS says of a service that has tasks on this host.
type ServiceEvent struct {
	At      time.Time `json:"at"`
	Service string    `json:"service"`
	Message string    `json:"message"`
	id      string
}

// Limits of the API's calls.
const (
	describeTasks    = 100
	describeServices = 10
)

// electionEvery is how often the instances with tasks of a service find out which of them asks about it. Between, one that asks goes on; if it
// is gone, nobody asks until the next time. A fleet of 1000 instances with 10 services each so makes 6 calls a second, and not 66.
const electionEvery = time.Hour

// serviceEvents bounds how many events are kept.
const serviceEvents = 20

// ecsCalls are calls to the API, as far as the role permits them.
type ecsCalls struct {
	cloud func(context.Context) (aws.Config, error)

	mu     sync.Mutex // guards what follows
	client *ecs.Client
	denied map[string]time.Time // by action: when it was refused
}

// errDenied says that the role was found not to permit a call within the last hour.
var errDenied = errors.New("the role does not permit it")

// apiWithin bounds a call.
const apiWithin = 20 * time.Second

// call makes one call, for which the role needs ecs:action. It is made once: who wants the answer comes again later.
//
// A generic function over the calls would be shorter, but the linker then keeps all calls of the client, 3 MB of them.
func (c *ecsCalls) call(ctx context.Context, action string, f func(context.Context, *ecs.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, apiWithin)
	defer cancel()
	c.mu.Lock()
	client, refused := c.client, c.denied[action]
	c.mu.Unlock()
	if !refused.IsZero() && time.Since(refused) < deniedEvery {
		return fmt.Errorf("ecs:%s: %w", action, errDenied)
	}
	if client == nil {
		cfg, err := c.cloud(ctx)
		if err != nil {
			return err
		}
		client = ecs.NewFromConfig(cfg, func(o *ecs.Options) { o.Retryer = aws.NopRetryer{} })
	}
	err := f(ctx, client)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client = client
	if err == nil {
		return nil
	}
	if fault.IsDenied(err) {
		c.denied[action] = time.Now()
	}
	return fmt.Errorf("ecs:%s: %w", action, fault.Plain(err))
}

// told is what the goroutine that asks the API keeps about services.
type told struct {
	asks   map[string]bool // services that this instance asks about
	chosen time.Time       // when that was found out
	seen   map[string]bool // events that were told already
}

// askAPI asks the API every five minutes, at a time of its own within them, so that a fleet started together does not ask together.
func (e *ECS) askAPI(ctx context.Context) {
	wait := time.Duration(rand.Int64N(int64(apiEvery / 10)))
	var services told
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		wait = apiEvery - apiEvery/10 + time.Duration(rand.Int64N(int64(apiEvery/5)))
		if st := e.State(); st.Instance != "" && e.askOnce(ctx, st, &services) {
			wait = confirmAfter
		}
	}
}

// confirmAfter is how soon the API is asked again when it says for the first time that the agent is not connected. Agents disconnect and connect
// again several times an hour, as AWS has it, and one look in five minutes would make an alert of each that it meets.
const confirmAfter = time.Minute

// askOnce asks whether the agent is connected, and what the services of the tasks here have to say. It answers whether the first is in doubt, and
// is to be asked again soon.
func (e *ECS) askOnce(ctx context.Context, st ECSState, services *told) (doubt bool) {
	var out *ecs.DescribeContainerInstancesOutput
	err := e.calls.call(ctx, "DescribeContainerInstances", func(ctx context.Context, api *ecs.Client) (err error) {
		out, err = api.DescribeContainerInstances(ctx, &ecs.DescribeContainerInstancesInput{Cluster: &st.Cluster, ContainerInstances: []string{st.Instance}})
		return err
	})
	if err != nil || len(out.ContainerInstances) != 1 {
		e.noAPI(err)
	} else {
		connected := out.ContainerInstances[0].AgentConnected
		e.mu.Lock()
		doubt = !connected && !e.doubted && st.Connected()
		e.doubted = !connected
		if e.state.APIError = ""; !doubt {
			e.state.API = &connected
		}
		e.mu.Unlock()
	}
	if err := e.hearServices(ctx, st, services); err != nil {
		e.log.Debug("services are not asked about", "err", err)
	}
	return doubt
}

// noAPI notes that the API does not tell. An answer of before is not kept: it would hide a change.
func (e *ECS) noAPI(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.API = nil
	if err != nil && !errors.Is(err, errDenied) {
		e.state.APIError = err.Error()
	}
}

func (c *ecsCalls) tasks(ctx context.Context, cluster string, arns []string) ([]types.Task, error) {
	var all []types.Task
	for some := range slices.Chunk(arns, describeTasks) {
		err := c.call(ctx, "DescribeTasks", func(ctx context.Context, api *ecs.Client) error {
			out, err := api.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &cluster, Tasks: some})
			if err == nil {
				all = append(all, out.Tasks...)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// elect finds out about which services this instance asks: those with tasks here of which no instance with a lower id has one.
func (e *ECS) elect(ctx context.Context, st ECSState) (map[string]bool, error) {
	e.mu.Lock()
	arns := make([]string, 0, len(e.known))
	for arn := range e.known {
		arns = append(arns, arn)
	}
	e.mu.Unlock()
	here, err := e.calls.tasks(ctx, st.Cluster, arns)
	if err != nil {
		return nil, err
	}
	asks := map[string]bool{}
	for _, t := range here {
		service, ok := serviceOf(aws.ToString(t.Group))
		if _, known := asks[service]; !ok || known {
			continue
		}
		var listed *ecs.ListTasksOutput
		err := e.calls.call(ctx, "ListTasks", func(ctx context.Context, api *ecs.Client) (err error) {
			listed, err = api.ListTasks(ctx, &ecs.ListTasksInput{Cluster: &st.Cluster, ServiceName: &service})
			return err
		})
		if err != nil {
			return nil, err
		}
		all, err := e.calls.tasks(ctx, st.Cluster, listed.TaskArns)
		if err != nil {
			return nil, err
		}
		asks[service] = lowest(all, st.Instance)
	}
	return asks, nil
}

// lowest tells whether no task runs on an instance whose id is below ours.
func lowest(tasks []types.Task, instance string) bool {
	return !slices.ContainsFunc(tasks, func(t types.Task) bool { return t.ContainerInstanceArn != nil && *t.ContainerInstanceArn < instance })
}

// hearServices fetches the newest events of the services that this instance asks about.
func (e *ECS) hearServices(ctx context.Context, st ECSState, c *told) error {
	if time.Since(c.chosen) > electionEvery {
		asks, err := e.elect(ctx, st)
		if err != nil {
			return err
		}
		c.asks, c.chosen = asks, time.Now()
	}
	var names []string
	for service, ours := range c.asks {
		if ours {
			names = append(names, service)
		}
	}
	slices.Sort(names)
	first := c.seen == nil
	seen := map[string]bool{}
	for some := range slices.Chunk(names, describeServices) {
		var out *ecs.DescribeServicesOutput
		err := e.calls.call(ctx, "DescribeServices", func(ctx context.Context, api *ecs.Client) (err error) {
			out, err = api.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &st.Cluster, Services: some})
			return err
		})
		if err != nil {
			return err
		}
		for _, s := range out.Services {
			for _, v := range s.Events[:min(len(s.Events), serviceEvents)] {
				id := aws.ToString(v.Id)
				seen[id] = true
				if !c.seen[id] {
					e.heard(ServiceEvent{aws.ToTime(v.CreatedAt), aws.ToString(s.ServiceName), aws.ToString(v.Message), id}, st.Cluster, !first)
				}
			}
		}
	}
	c.seen = seen
	return nil
}

// heard keeps an event of a service. Those of before the first look are shown and not sent: an instance before us has sent them.
func (e *ECS) heard(v ServiceEvent, cluster string, send bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := append(e.state.Services, v)
	slices.SortFunc(s, func(a, b ServiceEvent) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.id, b.id)) })
	e.state.Services = s[max(0, len(s)-serviceEvents):]
	if !send {
		return
	}
	select {
	case e.events <- saying{v.At, map[string]any{"log": "service " + v.Service + ": " + v.Message, "source": "ecs-services", "ecs_cluster": cluster, "ecs_service": v.Service}}:
	default:
		e.unsaid++
	}
}

// explain adds what the API knows of stopped tasks, where the role may ask.
func (e *ECS) explain(ctx context.Context, cluster string, stopped []StoppedTask) {
	if e.calls == nil || len(stopped) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	arns := make([]string, len(stopped))
	for i, t := range stopped {
		arns[i] = t.Arn
	}
	tasks, err := e.calls.tasks(ctx, cluster, arns)
	if err != nil {
		e.log.Debug("the ECS API does not say why tasks stopped", "err", err)
	}
	for _, t := range tasks {
		if i := slices.Index(arns, aws.ToString(t.TaskArn)); i >= 0 {
			stopped[i].StopCode, stopped[i].StopReason = string(t.StopCode), aws.ToString(t.StoppedReason)
		}
	}
}
