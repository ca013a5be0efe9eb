// Package cloud stands in for AWS around one container instance, in AWS's wire formats: the metadata service (version 2 alone), ECS (JSON
// 1.1), Auto Scaling (Query and XML), and the introspection API of the instance's ECS agent. It keeps the time of time.Now, which may be
// virtual.
package cloud

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// What the instance is called.
const (
	Instance = "i-0123456789abcdef0"
	Cluster  = "prod"
	ARN      = "arn:aws:ecs:eu-west-1:111122223333:container-instance/prod/0123456789abcdef0123456789abcdef"
	Group    = "workers"
)

// Task is one on the instance.
type Task struct {
	Service string        // empty: standalone
	Stops   time.Duration // how long it takes from the request to stop to the end
	Own     time.Duration // it ends by itself so long after it was added; 0: never

	arn           string
	begun, stopAt time.Time // zero: it was not asked to stop
}

// Call is a call that was made.
type Call struct {
	Action string // as in IAM: ecs:StopTask
	At     time.Time
	Result string // the code of an error; empty: it was done
}

// Hook is a lifecycle hook, for instances that are terminated if nothing else is said.
type Hook struct {
	Name    string
	Timeout time.Duration
	Launch  bool          // it is for instances that are launched
	Late    time.Duration // it begins to wait so long after the target state is there
	Global  time.Duration // how long it waits in all; 0: two days

	waiting   bool
	from      time.Time
	deadline  time.Time
	completed time.Time // by a call
	expired   time.Time // its time was up
}

// Cloud is what there is. Its methods may be called at any time.
type Cloud struct {
	mu       sync.Mutex
	state    string // of the container instance
	target   string // of Auto Scaling; empty: in no group
	spot     bool
	action   string // the item spot/instance-action
	balance  string // the item events/recommendations/rebalance
	tags     bool   // shown in the metadata service
	agent    bool   // the ECS agent answers
	silent   bool   // the metadata service does not answer
	gone     bool   // ECS does not know the container instance
	tasks    []*Task
	n        int
	hooks    []*Hook
	denied   map[string]bool
	failures map[string][]string // codes of the next answers, by action; "failure:REASON" is one with status 200
	calls    []Call
	looks    map[string]int // of the metadata service, by item
	token    string

	completing func()
}

// New makes a container instance in the service of a group: ACTIVE, without tasks.
func New(spot bool, hooks ...*Hook) *Cloud {
	return &Cloud{state: "ACTIVE", target: "InService", spot: spot, agent: true, hooks: hooks, denied: map[string]bool{}, failures: map[string][]string{}, looks: map[string]int{}}
}

// Set changes what there is, under the lock.
func (c *Cloud) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// Target sets the target state of Auto Scaling. On the way out of the service, and from the warm pool to the end, the hooks begin to wait.
func (c *Cloud) Target(state string) {
	c.set(func() {
		if c.target == "InService" && state != "InService" || c.target != state && strings.HasSuffix(state, "Terminated") {
			for _, h := range c.hooks {
				if h.Launch {
					continue
				}
				h.waiting, h.from, h.completed, h.expired = true, time.Now().Add(h.Late), time.Time{}, time.Time{}
				h.deadline = h.from.Add(h.Timeout)
			}
		}
		if state == "InService" { // what waited is over
			for _, h := range c.hooks {
				h.waiting = false
			}
		}
		c.target = state
	})
}

// OnComplete has f called, under the lock, whenever a call is about to complete a hook.
func (c *Cloud) OnComplete(f func()) { c.set(func() { c.completing = f }) }

// SpotNotice says that the instance is to end at that time; a zero time takes it back.
func (c *Cloud) SpotNotice(action string, at time.Time) {
	c.set(func() {
		if c.action = ""; !at.IsZero() {
			c.action = fmt.Sprintf(`{"action":%q,"time":%q}`, action, at.UTC().Format(time.RFC3339))
		}
	})
}

// Recommend sets the item events/recommendations/rebalance.
func (c *Cloud) Recommend(text string) { c.set(func() { c.balance = text }) }

// Tags shows the instance's tags in the metadata service.
func (c *Cloud) Tags() { c.set(func() { c.tags = true }) }

// Agent has the ECS agent answer, or not.
func (c *Cloud) Agent(answers bool) { c.set(func() { c.agent = answers }) }

// Silence has the metadata service not answer.
func (c *Cloud) Silence(silent bool) { c.set(func() { c.silent = silent }) }

// Deregister has ECS know the container instance no more.
func (c *Cloud) Deregister() { c.set(func() { c.gone = true }) }

// Deny has calls denied from now on, by their names in IAM.
func (c *Cloud) Deny(actions ...string) {
	c.set(func() {
		for _, a := range actions {
			c.denied[a] = true
		}
	})
}

// Fail has the next calls of an action answered by these codes. "failure:REASON" is a failure in an answer with status 200.
func (c *Cloud) Fail(action string, codes ...string) {
	c.set(func() { c.failures[action] = append(c.failures[action], codes...) })
}

// Add begins a task.
func (c *Cloud) Add(t Task) {
	c.set(func() {
		c.n++
		t.arn = fmt.Sprintf("arn:aws:ecs:eu-west-1:111122223333:task/prod/%032x", c.n)
		t.begun = time.Now()
		c.tasks = append(c.tasks, &t)
	})
}

func (t *Task) ended() bool {
	now := time.Now()
	return !t.stopAt.IsZero() && !now.Before(t.stopAt) || t.Own > 0 && now.Sub(t.begun) >= t.Own
}

func (t *Task) stop() {
	if t.stopAt.IsZero() {
		t.stopAt = time.Now().Add(t.Stops)
	}
}

// State is that of the container instance.
func (c *Cloud) State() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Running is how many tasks have not ended.
func (c *Cloud) Running() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tasks {
		if !t.ended() {
			n++
		}
	}
	return n
}

// Calls are those made so far of an action; all for an empty one.
func (c *Cloud) Calls(action string) []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.calls), func(o Call) bool { return action != "" && o.Action != action })
}

// Looks is how often an item of the metadata service was asked for.
func (c *Cloud) Looks(item string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looks[item]
}

// Hook says when a hook was completed by a call, or expired.
func (c *Cloud) Hook(name string) (completed, expired time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	for _, h := range c.hooks {
		if h.Name == name {
			return h.completed, h.expired
		}
	}
	return
}

func (h *Hook) most() time.Duration {
	if h.Global > 0 {
		return h.Global
	}
	return 48 * time.Hour
}

func (c *Cloud) expire() {
	for _, h := range c.hooks {
		if end := h.from.Add(h.most()); h.deadline.After(end) {
			h.deadline = end
		}
		if h.waiting && time.Now().After(h.deadline) {
			h.waiting, h.expired = false, h.deadline
		}
	}
}

// called notes a call and answers the error that it is to end in.
func (c *Cloud) called(action, denial string) (code string) {
	switch next := c.failures[action]; {
	case c.denied[action]:
		code = denial
	case len(next) > 0:
		code, c.failures[action] = next[0], next[1:]
	}
	c.calls = append(c.calls, Call{action, time.Now(), code})
	return code
}

func (c *Cloud) find(arn string) *Task {
	for _, t := range c.tasks {
		if t.arn == arn {
			return t
		}
	}
	return nil
}

// ServeHTTP is the APIs of AWS.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	auth := r.Header.Get("Authorization")
	target, isECS := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonEC2ContainerServiceV20141113.")
	switch {
	case isECS && strings.Contains(auth, "/ecs/aws4_request"):
		c.ecs(w, target, body)
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") && strings.Contains(auth, "/autoscaling/aws4_request"):
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if err := r.ParseForm(); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.scaling(w, r)
	default:
		w.WriteHeader(http.StatusForbidden)
	}
}

func (c *Cloud) ecs(w http.ResponseWriter, action string, body []byte) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	refuse := func(code, text string) {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": text})
	}
	code := c.called("ecs:"+action, "AccessDeniedException")
	reason, soft := strings.CutPrefix(code, "failure:")
	if code != "" && !soft {
		refuse(code, "for a test")
		return
	}
	var in struct {
		Cluster, Task, Status, Reason string
		ContainerInstances, Tasks     []string
	}
	if err := json.Unmarshal(body, &in); err != nil || in.Cluster != Cluster {
		refuse("ClusterNotFoundException", "Cluster not found.")
		return
	}
	type object = map[string]any
	failures := []object{}
	if soft {
		failures = append(failures, object{"arn": ARN, "reason": reason})
	}
	instance := func() []object {
		if soft || c.gone || !slices.Equal(in.ContainerInstances, []string{ARN}) {
			if len(failures) == 0 {
				failures = append(failures, object{"arn": strings.Join(in.ContainerInstances, ","), "reason": "MISSING"})
			}
			return []object{}
		}
		n := 0
		for _, t := range c.tasks {
			if !t.ended() {
				n++
			}
		}
		return []object{{"containerInstanceArn": ARN, "ec2InstanceId": Instance, "status": c.state, "runningTasksCount": n, "pendingTasksCount": 0, "agentConnected": true,
			"registeredAt": 1763719200.25}}
	}
	switch action {
	case "UpdateContainerInstancesState":
		if in.Status != "DRAINING" && in.Status != "ACTIVE" {
			refuse("InvalidParameterException", "Container instance status should be one of [ACTIVE,DRAINING]")
			return
		}
		if !soft && !c.gone && slices.Equal(in.ContainerInstances, []string{ARN}) {
			c.state = in.Status
			for _, t := range c.tasks {
				if in.Status == "DRAINING" && t.Service != "" {
					t.stop()
				}
			}
		}
		_ = json.NewEncoder(w).Encode(object{"containerInstances": instance(), "failures": failures})
	case "DescribeContainerInstances":
		_ = json.NewEncoder(w).Encode(object{"containerInstances": instance(), "failures": failures})
	case "DescribeTasks":
		tasks := []object{}
		for _, arn := range in.Tasks {
			if t := c.find(arn); t != nil {
				group := "family:job"
				if t.Service != "" {
					group = "service:" + t.Service
				}
				desired := "RUNNING"
				if !t.stopAt.IsZero() {
					desired = "STOPPED"
				}
				tasks = append(tasks, object{"taskArn": arn, "group": group, "desiredStatus": desired, "lastStatus": "RUNNING", "createdAt": 1763719200.5})
			}
		}
		_ = json.NewEncoder(w).Encode(object{"tasks": tasks, "failures": failures})
	case "StopTask":
		t := c.find(in.Task)
		if t == nil || in.Reason == "" {
			refuse("InvalidParameterException", "The referenced task was not found.")
			return
		}
		t.stop()
		_ = json.NewEncoder(w).Encode(object{"task": object{"taskArn": in.Task, "desiredStatus": "STOPPED", "stoppedReason": in.Reason}})
	default:
		refuse("InvalidAction", action)
	}
}

const scalingSpace = "http://autoscaling.amazonaws.com/doc/2011-01-01/"

func (c *Cloud) scaling(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/xml")
	action := r.PostForm.Get("Action")
	refuse := func(status int, code, text string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `<ErrorResponse xmlns=%q><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>1</RequestId></ErrorResponse>`, scalingSpace, code, text)
	}
	switch code := c.called("autoscaling:"+action, "AccessDenied"); {
	case code == "AccessDenied":
		refuse(http.StatusForbidden, code, "User is not authorized to perform: autoscaling:"+action)
		return
	case code != "":
		refuse(http.StatusBadRequest, code, "for a test")
		return
	case r.PostForm.Get("Version") != "2011-01-01":
		refuse(http.StatusBadRequest, "InvalidAction", "no such version")
		return
	}
	result := func(inner string) {
		fmt.Fprintf(w, `<%[1]sResponse xmlns=%[2]q><%[1]sResult>%[3]s</%[1]sResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></%[1]sResponse>`, action, scalingSpace, inner)
	}
	switch action {
	case "DescribeAutoScalingInstances":
		inner := "<AutoScalingInstances>"
		if c.target != "" && r.PostForm.Get("InstanceIds.member.1") == Instance {
			inner += "<member><AutoScalingGroupName>" + Group + "</AutoScalingGroupName><InstanceId>" + Instance + "</InstanceId><LifecycleState>InService</LifecycleState><HealthStatus>HEALTHY</HealthStatus><AvailabilityZone>eu-west-1a</AvailabilityZone><ProtectedFromScaleIn>false</ProtectedFromScaleIn></member>"
		}
		result(inner + "</AutoScalingInstances>")
	case "DescribeLifecycleHooks":
		var inner strings.Builder
		for _, h := range c.hooks {
			var name strings.Builder
			_ = xml.EscapeText(&name, []byte(h.Name)) // into memory
			fmt.Fprintf(&inner, `<member><LifecycleHookName>%s</LifecycleHookName><AutoScalingGroupName>%s</AutoScalingGroupName><LifecycleTransition>autoscaling:EC2_INSTANCE_%s</LifecycleTransition><HeartbeatTimeout>%d</HeartbeatTimeout><GlobalTimeout>%d</GlobalTimeout><DefaultResult>CONTINUE</DefaultResult></member>`,
				name.String(), Group, map[bool]string{false: "TERMINATING", true: "LAUNCHING"}[h.Launch], int(h.Timeout.Seconds()), int(h.most().Seconds()))
		}
		result("<LifecycleHooks>" + inner.String() + "</LifecycleHooks>")
	case "RecordLifecycleActionHeartbeat", "CompleteLifecycleAction":
		i := slices.IndexFunc(c.hooks, func(h *Hook) bool {
			return h.Name == r.PostForm.Get("LifecycleHookName") && h.waiting && !time.Now().Before(h.from)
		})
		if i < 0 || r.PostForm.Get("AutoScalingGroupName") != Group || r.PostForm.Get("InstanceId") != Instance {
			c.calls[len(c.calls)-1].Result = "ValidationError"
			refuse(http.StatusBadRequest, "ValidationError", "No active Lifecycle Action found with instance ID "+r.PostForm.Get("InstanceId"))
			return
		}
		h := c.hooks[i]
		if h.deadline = time.Now().Add(h.Timeout); action == "CompleteLifecycleAction" {
			if r.PostForm.Get("LifecycleActionResult") != "CONTINUE" {
				refuse(http.StatusBadRequest, "ValidationError", "LifecycleActionResult")
				return
			}
			if c.completing != nil {
				c.completing()
			}
			h.waiting, h.completed = false, time.Now()
		}
		result("")
	default:
		refuse(http.StatusBadRequest, "InvalidAction", action)
	}
}
