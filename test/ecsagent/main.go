// Command ecsagent stands in for what a machine of test/systemd lacks of a container instance: ecs-init with the ECS agent, and EC2's
// metadata service.
//
// `ecsagent` reads ecs.config by ecs-init's rules, and what systemd made of the same file from its environment. It notes both in
// /var/lib/ecs/starts, a line of JSON each start. It registers after a second, for as long as /var/lib/ecs/data has its registration,
// and then answers on port 51678. It ends like the agent where a setting is fatal (1, to be started again), and with 5 (for good) where
// ECS_CLUSTER=refused.
//
// `ecsagent imds` answers on port 8254 what the files in /srv/imds say, to those who have a token.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const registration = "/var/lib/ecs/data/agent.db"

// start is a line of /var/lib/ecs/starts.
type start struct {
	File    map[string]string // what ecs-init reads
	Systemd map[string]string // what systemd reads
}

func main() {
	if len(os.Args) > 1 {
		imds()
	}
	s := start{File: map[string]string{}, Systemd: map[string]string{}}
	text, _ := os.ReadFile("/etc/ecs/ecs.config") // none: nothing is set
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			s.File[name] = value
		}
	}
	for _, e := range os.Environ() {
		if name, value, _ := strings.Cut(e, "="); strings.HasPrefix(name, "ECS_") {
			s.Systemd[name] = value
		}
	}
	note(s)

	var attributes map[string]string
	if v := s.File["ECS_INSTANCE_ATTRIBUTES"]; v != "" && json.Unmarshal([]byte(v), &attributes) != nil {
		fail(1, "Unable to parse ECS_INSTANCE_ATTRIBUTES")
	}
	var drivers []string
	_ = json.Unmarshal([]byte(s.File["ECS_AVAILABLE_LOGGING_DRIVERS"]), &drivers) // else the default
	known := []string{"json-file", "syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "logentries", "sumologic", "awsfirelens", "none"}
	for _, d := range drivers {
		if !slices.Contains(known, d) {
			fail(1, "Invalid logging drivers: "+d)
		}
	}
	if s.File["ECS_CLUSTER"] == "refused" {
		fail(5, "terminal")
	}
	time.Sleep(time.Second) // the call to ECS
	cluster, err := os.ReadFile(registration)
	if err != nil {
		cluster = []byte(s.File["ECS_CLUSTER"])
		if len(cluster) == 0 {
			cluster = []byte("default")
		}
		if err := os.MkdirAll(filepath.Dir(registration), 0o700); err != nil {
			fail(1, err.Error())
		}
		if err := os.WriteFile(registration, cluster, 0o600); err != nil {
			fail(1, err.Error())
		}
	}
	http.HandleFunc("GET /v1/metadata", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"Cluster": string(cluster), "ContainerInstanceArn": "arn:aws:ecs:eu-west-1:1:container-instance/x", "Version": "Amazon ECS Agent - v1.105.0 (stand-in)"})
	})
	fail(1, http.ListenAndServe("127.0.0.1:51678", nil).Error())
}

func note(s start) {
	line, err := json.Marshal(s)
	if err != nil {
		fail(1, err.Error())
	}
	f, err := os.OpenFile("/var/lib/ecs/starts", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fail(1, err.Error())
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		fail(1, err.Error())
	}
	_ = f.Close() // written
}

func fail(code int, text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(code)
}

// imds speaks version 2 alone.
func imds() {
	const token = "AQAEAtoken=="
	http.HandleFunc("/latest/", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/latest/api/token" && r.Method == http.MethodPut && r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			fmt.Fprint(w, token)
			return
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != token:
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		text, err := os.ReadFile(filepath.Join("/srv/imds", strings.ReplaceAll(strings.TrimPrefix(r.URL.Path, "/latest/"), "/", "_")))
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(text)
	})
	fail(1, http.ListenAndServe("127.0.0.1:8254", nil).Error())
}
