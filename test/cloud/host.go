package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Item answers an item below /latest/meta-data/, nothing if it is not there.
func (c *Cloud) Item(_ context.Context, path string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks[path]++
	if c.silent {
		return "", errors.New("no answer")
	}
	switch path {
	case "instance-id":
		return Instance, nil
	case "instance-life-cycle":
		if c.spot {
			return "spot", nil
		}
		return "on-demand", nil
	case "placement/region":
		return "eu-west-1", nil
	case "spot/instance-action":
		return c.action, nil
	case "events/recommendations/rebalance":
		return c.balance, nil
	case "autoscaling/target-lifecycle-state":
		return c.target, nil
	case "tags/instance/aws:autoscaling:groupName":
		if c.tags {
			return Group, nil
		}
	}
	return "", nil
}

// Metadata is the metadata service, version 2 alone.
func (c *Cloud) Metadata() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const ttl = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
		if r.URL.Path == "/latest/api/token" {
			if r.Method != http.MethodPut || r.Header.Get(ttl) == "" || r.Header.Get("X-Forwarded-For") != "" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			token := fmt.Sprint("token-", time.Now().UnixNano())
			c.set(func() { c.token = token })
			w.Header().Set(ttl, r.Header.Get(ttl))
			fmt.Fprint(w, token)
			return
		}
		c.mu.Lock()
		good, silent := c.token != "" && r.Header.Get("X-Aws-Ec2-Metadata-Token") == c.token, c.silent
		c.mu.Unlock()
		if !good {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if silent {
			<-r.Context().Done()
			return
		}
		if r.URL.Path == "/latest/dynamic/instance-identity/document" {
			fmt.Fprintf(w, `{"accountId":"111122223333","region":"eu-west-1","availabilityZone":"eu-west-1a","instanceId":%q,"instanceType":"m5.large","version":"2017-09-30"}`, Instance)
			return
		}
		text, _ := c.Item(r.Context(), strings.TrimPrefix(r.URL.Path, "/latest/meta-data/"))
		if text == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, text)
	})
}

// Introspection is the API of the instance's ECS agent.
func (c *Cloud) Introspection() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.agent {
			panic(http.ErrAbortHandler)
		}
		switch r.URL.Path {
		case "/v1/metadata":
			fmt.Fprintf(w, `{"Cluster":%q,"ContainerInstanceArn":%q,"Version":"Amazon ECS Agent - v1.105.1 (8dfceca6)"}`, Cluster, ARN)
		case "/v1/tasks":
			type object = map[string]any
			tasks := []object{}
			for _, t := range c.tasks {
				known, desired := "RUNNING", "RUNNING"
				if !t.stopAt.IsZero() {
					desired = "STOPPED"
				}
				if t.ended() {
					known, desired = "STOPPED", ""
				}
				tasks = append(tasks, object{"Arn": t.arn, "KnownStatus": known, "DesiredStatus": desired, "Family": "web", "Version": "1", "Containers": []object{}})
			}
			_ = json.NewEncoder(w).Encode(object{"Tasks": tasks})
		default:
			fmt.Fprint(w, `{"AvailableCommands":["/v1/metadata","/v1/tasks","/license"]}`)
		}
	})
}
