package introspection

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestClient(t *testing.T) {
	answers := map[string]string{
		"/v1/metadata": `{"Cluster":"prod","ContainerInstanceArn":null,"Version":"Amazon ECS Agent - v1.105.1 (8dfceca6)"}`,
		"/v1/tasks": `{"Tasks":[{"Arn":"arn:aws:ecs:eu-west-1:111122223333:task/prod/fedcba98","DesiredStatus":"RUNNING","KnownStatus":"RUNNING","Family":"web","Version":"12",
			"Containers":[{"DockerId":"9581a69a761a","DockerName":"ecs-web-12-nginx-f8b4c2a1d0e9b7c3a501","Name":"nginx","Image":"nginx:1.27","Ports":[{"ContainerPort":80}]}]},
			{"Arn":"arn:aws:ecs:eu-west-1:111122223333:task/prod/01234567","KnownStatus":"STOPPED","Family":"job","Version":"3","Containers":[]}]}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.Path]
		if !ok {
			text = `{"AvailableCommands":["/v1/metadata","/v1/tasks","/license"]}`
		}
		_, _ = w.Write([]byte(text))
	}))
	defer server.Close()
	c := Client{server.URL}
	if _, err := c.Metadata(t.Context()); !errors.Is(err, ErrUnregistered) {
		t.Errorf("before registration: %v", err)
	}
	answers["/v1/metadata"] = `{"Cluster":"prod","ContainerInstanceArn":"arn:aws:ecs:eu-west-1:111122223333:container-instance/prod/0123","Version":"v"}`
	if m, err := c.Metadata(t.Context()); err != nil || m.Cluster != "prod" || m.Version != "v" {
		t.Errorf("%+v, %v", m, err)
	}
	tasks, err := c.Tasks(t.Context())
	if err != nil || len(tasks) != 2 || tasks[0].Containers[0].DockerID != "9581a69a761a" || tasks[1].KnownStatus != Stopped || tasks[1].DesiredStatus != "" {
		t.Errorf("%+v, %v", tasks, err)
	}
	delete(answers, "/v1/tasks")
	if tasks, err := c.Tasks(t.Context()); err == nil {
		t.Errorf("an agent that does not know the path has tasks: %+v", tasks)
	}
	server.Close()
	if _, err := c.Tasks(t.Context()); err == nil {
		t.Error("a dead agent has tasks")
	}
}
