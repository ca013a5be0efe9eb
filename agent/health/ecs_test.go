package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/fairlead/fairlead/internal/dockerd"
	"github.com/fairlead/fairlead/internal/introspection"
)

const here = "arn:aws:ecs:eu-west-1:111122223333:container-instance/prod/5555"

// standIn is an ECS agent and the ECS API, neither of which runs outside of AWS.
type standIn struct {
	mu     sync.Mutex
	tasks  []introspection.Task
	faults map[string]string // by action: the code it is answered with
	asked  map[string]int
	api    map[string]string
}

func (s *standIn) set(tasks ...introspection.Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks = tasks
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		_, action, _ := strings.Cut(target, ".")
		s.asked[action]++
		if code := s.faults[action]; code != "" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"__type":%q,"message":"no"}`, code)
			return
		}
		_, _ = io.WriteString(w, s.api[action])
		return
	}
	if r.URL.Path == "/v1/tasks" {
		_ = json.NewEncoder(w).Encode(map[string]any{"Tasks": s.tasks})
		return
	}
	fmt.Fprintf(w, `{"Cluster":"prod","ContainerInstanceArn":%q,"Version":"Amazon ECS Agent - v1.105.1 (8dfceca6)"}`, here)
}

// said collects events.
type said struct {
	mu     sync.Mutex
	events []map[string]any
	refuse bool
}

func (s *said) say(_ context.Context, tag string, _ time.Time, record map[string]any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse {
		s.refuse = false
		return errors.New("not running")
	}
	s.events = append(s.events, maps.Clone(record))
	s.events[len(s.events)-1]["tag"] = tag
	return nil
}

func (s *said) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}

func newStandIn(t *testing.T) (*standIn, *ECS, *said) {
	t.Helper()
	s := &standIn{faults: map[string]string{}, asked: map[string]int{}, tasks: []introspection.Task{}, api: map[string]string{
		"DescribeContainerInstances": `{"containerInstances":[{"agentConnected":true}],"failures":[]}`,
	}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_ECS": server.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	cli, err := dockerd.New("unix://" + filepath.Join(t.TempDir(), "none.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	root := t.TempDir()
	h := newHost(root, kernel{now: time.Now})
	log := slog.New(slog.DiscardHandler)
	events := &said{refuse: true}
	cloud := func(ctx context.Context) (aws.Config, error) { return config.LoadDefaultConfig(ctx) }
	return s, newECS(h, newDocker(h, cli, 0, log), introspection.Client{Base: server.URL}, cloud, events.say, time.Hour, log), events
}

func task(arn, status, family string, containers ...string) introspection.Task {
	t := introspection.Task{Arn: arn, KnownStatus: status, Family: family, Version: "7"}
	for _, id := range containers {
		t.Containers = append(t.Containers, introspection.Container{DockerID: id, Name: "c-" + id})
	}
	return t
}

func TestECSTasks(t *testing.T) {
	s, e, events := newStandIn(t)
	e.docker.ended = map[string]end{"old": {code: "1"}, "a": {code: "1", at: time.Unix(10, 0)}, "b": {code: "137", at: time.Unix(12, 0)}, "c": {code: "0"}, "d": {code: "137", oom: true}, "e": {code: "137", told: true}}
	exporter := newExporter(slog.New(slog.DiscardHandler), true, e.sources()...)
	s.set(task("t0", introspection.Stopped, "old", "old"), task("t1", introspection.Running, "web", "a", "b"), task("t2", introspection.Running, "job", "c"), task("t5", introspection.Running, "slow", "e"))
	e.look(t.Context(), time.Now())
	s.api["DescribeTasks"] = `{"tasks":[{"taskArn":"t1","stopCode":"EssentialContainerExited","stoppedReason":"Essential container in task exited"}]}`
	s.set(task("t1", introspection.Stopped, "web", "a", "b"), task("t2", introspection.Stopped, "job", "c"), task("t3", introspection.Stopped, "api", "d"), task("t5", introspection.Stopped, "slow", "e"), task("t4", introspection.Pending, "web"))
	e.look(t.Context(), time.Now())
	e.look(t.Context(), time.Now())
	text := scrape(t, exporter)
	for _, want := range []string{
		"fairlead_ecs_agent_up 1", "fairlead_ecs_agent_connected 1", `check{check="process"} 0`, `check{check="api"} NaN`,
		`fairlead_ecs_agent_info{cluster="prod",version="Amazon ECS Agent - v1.105.1 (8dfceca6)"} 1`,
		`tasks{status="STOPPED"} 4`, `tasks{status="PENDING"} 1`, `tasks{status="RUNNING"} 0`,
		`stopped_tasks_total{reason="exit"} 1`, `stopped_tasks_total{reason="oom"} 1`, `stopped_tasks_total{reason="killed"} 1`, `family_stopped_tasks_total{family="slow"} 0`,
		`family_stopped_tasks_total{family="web"} 1`, `family_stopped_tasks_total{family="job"} 0`, "fairlead_ecs_agent_present 1", "log_age_seconds NaN",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	background(t, e.tell)
	for deadline := time.Now().Add(time.Minute); events.count() < 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d events, want 2", events.count())
		}
	}
	first := events.events[0]
	if first["tag"] != "host.ecs-tasks" || first["ecs_task_definition"] != "web:7" || first["ecs_container_name"] != "c-a" || first["exit_code"] != "1" || first["stop_code"] != "EssentialContainerExited" {
		t.Errorf("%v", first)
	}
	if want := "task web:7 stopped: container c-a ended with exit code 1. ECS says: Essential container in task exited"; first["log"] != want {
		t.Errorf("%q, want %q", first["log"], want)
	}
	if n := len(e.State().Stopped); n != 3 {
		t.Errorf("%d kept for people", n)
	}
}

func TestECSAgentSilent(t *testing.T) {
	_, e, _ := newStandIn(t)
	e.agent.Base = "http://127.0.0.1:1"
	e.look(t.Context(), time.Now())
	if st := e.State(); !st.Missing || st.Up || st.Connected() {
		t.Errorf("no agent here: %+v", st)
	}
	if err := os.MkdirAll(e.host.path("etc/ecs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(e.host.path("var/log/ecs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(e.host.path("var/log/ecs/ecs-agent.log"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	e.look(t.Context(), time.Now().Add(time.Minute))
	if st := e.State(); st.Missing || st.Up || st.Error == "" || st.LogAge < 59 || st.LogAge > 100 {
		t.Errorf("a silent one: %+v", st)
	}
}

func TestECSServices(t *testing.T) {
	s, e, events := newStandIn(t)
	s.set(task("t1", introspection.Running, "web", "a"))
	e.look(t.Context(), time.Now())
	s.api["DescribeTasks"] = `{"tasks":[{"taskArn":"t1","group":"service:web","containerInstanceArn":"` + here + `"}]}`
	s.api["ListTasks"] = `{"taskArns":["t1"]}`
	event := func(id, text string) string {
		return fmt.Sprintf(`{"id":%q,"message":%q,"createdAt":1763719200.5}`, id, text)
	}
	s.api["DescribeServices"] = `{"services":[{"serviceName":"web","events":[` + event("1", "has reached a steady state.") + `]}]}`
	var services told
	e.askOnce(t.Context(), e.State(), &services)
	if st := e.State(); st.API == nil || !*st.API || len(st.Services) != 1 || st.Services[0].At.UnixMilli() != 1763719200500 || len(e.events) != 0 {
		t.Fatalf("first: %+v, %d to send", st, len(e.events))
	}
	s.api["DescribeServices"] = `{"services":[{"serviceName":"web","events":[` + event("2", "was unable to place a task") + "," + event("1", "has reached a steady state.") + `]}]}`
	s.api["DescribeContainerInstances"] = `{"containerInstances":[{"agentConnected":false}]}`
	if doubt := e.askOnce(t.Context(), e.State(), &services); !doubt || !e.State().Connected() {
		t.Errorf("agents disconnect now and then, and it was believed at once: %+v", e.State())
	}
	if doubt := e.askOnce(t.Context(), e.State(), &services); doubt {
		t.Error("it is asked over and over again")
	}
	if st := e.State(); st.Connected() || len(st.Services) != 2 || len(e.events) != 1 {
		t.Errorf("second: %+v, %d to send", st, len(e.events))
	}
	if n := s.asked["ListTasks"]; n != 1 {
		t.Errorf("who asks was found out %d times", n)
	}
	background(t, e.tell)
	for deadline := time.Now().Add(time.Minute); events.count() < 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no event")
		}
	}
	if got := events.events[0]["log"]; got != "service web: was unable to place a task" {
		t.Errorf("%q", got)
	}
	// A call that fails is made once a time, and again the next.
	s.faults["DescribeContainerInstances"] = "ThrottlingException"
	for range 2 {
		e.askOnce(t.Context(), e.State(), &services)
	}
	if st := e.State(); st.API != nil || st.APIError != "ecs:DescribeContainerInstances: ThrottlingException: no" || s.asked["DescribeContainerInstances"] != 5 {
		t.Errorf("throttled: %+v, asked %v", st, s.asked)
	}
	// What the role does not permit is not asked again soon, and nothing is claimed.
	s.faults["DescribeContainerInstances"], s.faults["DescribeServices"] = "AccessDeniedException", "AccessDeniedException"
	clear(s.asked)
	for range 3 {
		e.askOnce(t.Context(), e.State(), &services)
	}
	if st := e.State(); st.API != nil || !st.Connected() || s.asked["DescribeContainerInstances"] != 1 || s.asked["DescribeServices"] != 1 {
		t.Errorf("denied: %+v, asked %v", st, s.asked)
	}
}

// One instance of all that run a service asks about it.
func TestLowest(t *testing.T) {
	instances := []string{"i1", "i2", "i3"}
	var tasks []types.Task
	for _, i := range []string{"i3", "i2", "i3"} {
		tasks = append(tasks, types.Task{ContainerInstanceArn: &i})
	}
	asking := slices.DeleteFunc(instances, func(i string) bool {
		return !slices.ContainsFunc(tasks, func(t types.Task) bool { return *t.ContainerInstanceArn == i }) || !lowest(tasks, i)
	})
	if !slices.Equal(asking, []string{"i2"}) {
		t.Errorf("%v ask, want i2", asking)
	}
}

func TestJudgeStop(t *testing.T) {
	for name, c := range map[string]struct {
		ends []ended
		want string
	}{
		"done":                     {[]ended{{"a", end{code: "0"}}}, ""},
		"told to stop":             {[]ended{{"a", end{code: "143"}}}, ""},
		"failed":                   {[]ended{{"a", end{code: "3"}}}, reasonExit},
		"stop timeout":             {[]ended{{"a", end{code: "137"}}}, reasonKilled},
		"told, and not in time":    {[]ended{{"a", end{code: "137", told: true}}}, reasonKilled},
		"told, in its own way":     {[]ended{{"a", end{code: "1", told: true}}}, ""},
		"segfault":                 {[]ended{{"a", end{code: "139"}}}, reasonCrashed},
		"memory":                   {[]ended{{"a", end{code: "137", oom: true}}}, reasonOOM},
		"sidecar killed after end": {[]ended{{"side", end{code: "137", at: time.Unix(31, 0)}}, {"a", end{code: "0", at: time.Unix(1, 0)}}}, ""},
		"memory of the second":     {[]ended{{"a", end{code: "143", at: time.Unix(1, 0)}}, {"b", end{code: "137", oom: true, at: time.Unix(1, 1)}}}, reasonOOM},
		"nobody knows":             {nil, ""},
	} {
		s, wrong := judgeStop(task("t", introspection.Stopped, "f", "x"), c.ends, time.Now())
		if wrong != (c.want != "") || wrong && s.Reason != c.want {
			t.Errorf("%s: %+v, %t", name, s, wrong)
		}
		if wrong && !strings.HasPrefix(s.String(), "task f:7 stopped: container ") {
			t.Errorf("%s: %s", name, s)
		}
	}
	if s, wrong := judgeStop(task("t", introspection.Stopped, "f"), nil, time.Now()); !wrong || s.Reason != reasonNotStarted {
		t.Errorf("no container: %+v, %t", s, wrong)
	}
}
