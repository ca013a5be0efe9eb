package test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/script"
)

// ecs are the labels that the ECS agent puts on a container, and what Fluentd is to get.
func ecs(name string) (labels, fields map[string]string) {
	const task = "arn:aws:ecs:eu-west-1:111122223333:task/prod/fedcba9876543210fedcba9876543210"
	labels = map[string]string{
		"com.amazonaws.ecs.cluster": "prod", "com.amazonaws.ecs.task-arn": task, "com.amazonaws.ecs.task-definition-family": "web",
		"com.amazonaws.ecs.task-definition-version": "12", "com.amazonaws.ecs.container-name": name, "team": "shop <&>",
	}
	fields = map[string]string{"ecs_cluster": "prod", "ecs_task_arn": task, "ecs_task_definition": "web:12", "ecs_container_name": name, "team": "shop <&>"}
	return labels, fields
}

// TestNames has real containers named: one that lives two seconds and one renamed meanwhile, some that are gone with all their files
// after a tenth of a second, and one whose driver sends its events. Those that are not to be read are not, and status says why.
func TestNames(t *testing.T) {
	tcp := freeAddr(t)
	r := newRig(t, newOurReceiver, daemonConfig{containers: true, listen: tcp,
		names: `, tag: "{{with .ECSContainerName}}ecs.{{$.ECSTaskFamily}}.{{.}}{{else}}docker.{{.ContainerName}}{{end}}", labels: [team], exclude: ["*-noisy", "quiet=y*"]`})
	r.daemon.start()
	r.listens(tcp)
	labels, fields := ecs("nginx")
	var all []*container
	for i := range 8 {
		o := writerOptions{out: script.TagsOneCall, err: script.Bare, groups: 1, labels: labels, fields: fields, tag: "ecs.web.nginx", autoRemove: true}
		if i%2 == 1 {
			o.rate = 20_000 // not all at once
		}
		c := r.launch(fmt.Sprint("brief", i), o)
		c.wait()
	}
	all = append(all,
		r.launch("task", writerOptions{out: script.TagsOneCall, err: script.Bare, groups: 4, rate: 15_000, labels: labels, fields: fields, tag: "ecs.web.nginx"}),
		r.launch("plain", writerOptions{out: script.TagsOneCall, groups: 4, rate: 15_000}),
		r.launch("driver", writerOptions{out: script.TagsOneCall, groups: 1, rate: 15_000, driver: "fluentd", log: driver(tcp), labels: labels, fields: fields}),
		r.launch("noisy", writerOptions{out: script.Bare, groups: 1, unread: true}),
		r.launch("quiet", writerOptions{out: script.Bare, groups: 1, unread: true, labels: map[string]string{"quiet": "yes"}}),
		r.launch("pause", writerOptions{out: script.Bare, groups: 1, unread: true, labels: map[string]string{"com.amazonaws.ecs.container-name": "~internal~ecs~pause"}}),
		r.launch("local", writerOptions{out: script.Bare, groups: 1, unread: true, driver: "local"}),
	)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r.daemon.waitMetric(2*time.Minute, "fairlead_tail_lines_total", func(v float64) bool { return v > 0 })
	plain := all[1]
	err := poll(t.Context(), time.Minute, func() bool { return strings.Contains(r.daemon.status(), plain.id) })
	if err != nil {
		t.Errorf("%s is not read: %v", plain.name, err)
	}
	if err := bed.engine.Rename(ctx, plain.id, plain.name+"-renamed"); err != nil {
		t.Error(err)
	}
	for _, c := range all {
		c.wait()
	}

	var status struct {
		Forwarder struct {
			Excluded []struct {
				ContainerID string `json:"container_id"`
				Name        string
				Reason      string
			}
			Sources []struct{ Path string }
		}
	}
	if err := json.Unmarshal([]byte(r.daemon.status()), &status); err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for _, e := range status.Forwarder.Excluded {
		reasons[e.ContainerID] = e.Reason
	}
	for i, want := range []string{"log driver fluentd", "sources.containers.exclude: *-noisy", "sources.containers.exclude: quiet=y*", "pause container of an ECS task", "log driver local"} {
		c := all[2+i]
		if reasons[c.id] != want {
			t.Errorf("%s is excluded for %q, want %q", c.name, reasons[c.id], want)
		}
		for _, s := range status.Forwarder.Sources {
			if strings.Contains(s.Path, c.id) {
				t.Errorf("%s is excluded and read", c.name)
			}
		}
	}
	r.finish()
}
