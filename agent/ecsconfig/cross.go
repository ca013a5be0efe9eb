package ecsconfig

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/internal/document"
)

// Facts are what is known of the host. What is not known is left zero, and nothing is said of it.
type Facts struct {
	EngineDrivers []string      // logging drivers of the Docker engine
	Listens       *bool         // something takes what Docker's fluentd driver sends
	Drains        *bool         // fairlead drains on Spot notices
	UntilFull     time.Duration // when the disk is full at the present rate
	Upstart       bool          // no systemd: ecs-init has no environment from the file
	Cluster       string        // that the instance is registered in; empty: it is not
}

// cross checks settings against each other and against the host.
func (p *planner) cross(now map[string]string) {
	say := func(key string, s document.Severity, fix, format string, args ...any) {
		at, ok := p.from[key]
		if !ok {
			at = document.Place{File: p.in.File}
		}
		p.report(at, note{s, key + ": " + fmt.Sprintf(format, args...), fix})
	}
	warn := document.Warning
	on := func(key string) bool { return slices.Contains(trueWords, strings.TrimSpace(now[key])) }

	var drivers []string
	if json.Unmarshal([]byte(now["ECS_AVAILABLE_LOGGING_DRIVERS"]), &drivers) == nil {
		const key = "ECS_AVAILABLE_LOGGING_DRIVERS"
		for _, d := range drivers {
			if len(p.in.Facts.EngineDrivers) > 0 && d != "none" && d != "awsfirelens" && !slices.Contains(p.in.Facts.EngineDrivers, d) {
				say(key, warn, "remove it from the list", "the Docker engine of this host has no driver %q: tasks that use it are placed here and fail", d)
			}
		}
		if slices.Contains(drivers, "fluentd") && p.in.Facts.Listens != nil && !*p.in.Facts.Listens {
			say(key, warn, "set sources.listen.tcp: 127.0.0.1:24224", "fluentd is listed, but nothing listens for it: tasks that use the driver without fluentd-async do not start")
		}
		if len(drivers) > 0 && !slices.Contains(drivers, "awslogs") {
			if def := table()[key].without(); strings.Contains(def, "awslogs") && slices.Contains(drivers, "fluentd") && !slices.Contains(drivers, "json-file") {
				say(key, warn, `add "json-file"`, "the list replaces the default: tasks without a log configuration use json-file, which is not in it")
			}
		}
	}
	if p.in.Facts.UntilFull > 0 {
		const key = "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION"
		wait, err := time.ParseDuration(now[key])
		if err != nil || wait < time.Second { // then the agent takes its default
			wait, err = time.ParseDuration(table()[key].otherwise())
		}
		if err == nil && wait > p.in.Facts.UntilFull {
			say(key, warn, fmt.Sprintf("write less than %s", p.in.Facts.UntilFull.Round(time.Minute)), "stopped tasks are kept for %s, but the disk is full in %s at the present rate", wait, p.in.Facts.UntilFull.Round(time.Minute))
		}
	}
	if on("ECS_ENABLE_SPOT_INSTANCE_DRAINING") && p.in.Facts.Drains != nil && *p.in.Facts.Drains {
		say("ECS_ENABLE_SPOT_INSTANCE_DRAINING", warn, "leave it to one of them", "fairlead drains on Spot notices too (drain.enabled): harmless, but both call the API")
	}
	if now["ECS_ENGINE_AUTH_DATA"] != "" && now["ECS_ENGINE_AUTH_TYPE"] == "" {
		say("ECS_ENGINE_AUTH_DATA", document.Error, "set ECS_ENGINE_AUTH_TYPE to docker or dockercfg", "without ECS_ENGINE_AUTH_TYPE it is not used, pulls from private registries fail")
	}
	if now["ECS_ENGINE_AUTH_TYPE"] != "" && now["ECS_ENGINE_AUTH_DATA"] == "" && p.from["ECS_ENGINE_AUTH_DATA"] == (document.Place{}) {
		say("ECS_ENGINE_AUTH_TYPE", warn, "set ECS_ENGINE_AUTH_DATA", "there is no ECS_ENGINE_AUTH_DATA")
	}
	for _, key := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
		if now[key] == "" {
			continue
		}
		for _, host := range []string{"169.254.169.254", "169.254.170.2", "/var/run/docker.sock"} {
			if !strings.Contains(now["NO_PROXY"], host) {
				say(key, document.Error, "set NO_PROXY=169.254.169.254,169.254.170.2,/var/run/docker.sock",
					"NO_PROXY does not hold %s: the agent asks the proxy for what only this host has", host)
				break
			}
		}
		break
	}
	if on("ECS_EXTERNAL") && now["AWS_DEFAULT_REGION"] == "" {
		say("ECS_EXTERNAL", document.Error, "set AWS_DEFAULT_REGION", "without AWS_DEFAULT_REGION the agent ends, again and again")
	}
	if now["ECS_POLLING_METRICS_WAIT_DURATION"] != "" && !on("ECS_POLL_METRICS") {
		say("ECS_POLLING_METRICS_WAIT_DURATION", warn, "set ECS_POLL_METRICS=true", "has an effect only with ECS_POLL_METRICS=true")
	}
	if on("ECS_DISABLE_IMAGE_CLEANUP") {
		for _, key := range []string{"ECS_IMAGE_CLEANUP_INTERVAL", "ECS_IMAGE_MINIMUM_CLEANUP_AGE", "ECS_NUM_IMAGES_DELETE_PER_CYCLE"} {
			if now[key] != "" {
				say(key, warn, "remove ECS_DISABLE_IMAGE_CLEANUP", "has no effect while ECS_DISABLE_IMAGE_CLEANUP is on")
			}
		}
	}
	if driver := now["ECS_LOG_DRIVER"]; driver != "" && now["ECS_LOGLEVEL_ON_INSTANCE"] == "" {
		say("ECS_LOG_DRIVER", warn, "set ECS_LOGLEVEL_ON_INSTANCE=info to keep it", "turns the agent's log file on this host off")
	}
	if now["ECS_LOG_OPTS"] != "" && now["ECS_LOG_DRIVER"] == "" {
		say("ECS_LOG_OPTS", warn, "set ECS_LOG_DRIVER", "has no effect without ECS_LOG_DRIVER")
	}
	if p.in.Facts.Upstart {
		for key := range now {
			k, ok := table()[key]
			inItsEnvironment := !slices.Contains(k.Readers, "agent") && key != "ECS_AGENT_LABELS" || key == "ECS_LOG_DRIVER" || key == "ECS_EXTERNAL"
			if ok && inItsEnvironment {
				say(key, warn, "set it in /etc/init/ecs.override", "has no effect here: under upstart ecs-init does not see this file")
			}
		}
	}
}

// keepCluster keeps a registered instance in its cluster: the agent would keep to it anyway, with a file that says otherwise.
func (p *planner) keepCluster() (refused string) {
	const key = "ECS_CLUSTER"
	if p.in.Facts.Cluster == "" {
		return ""
	}
	before, was := Effective(p.in.Text)[key]
	is := func(name string) string {
		name = strings.TrimSpace(name)
		if name == "" {
			return "default"
		}
		return name[strings.LastIndexByte(name, '/')+1:]
	}
	var to string
	spot := -1
	for i, l := range p.lines {
		if l.key == key && !l.gone {
			to, spot = l.value, i
		}
	}
	if is(to) == is(before) || is(to) == is(p.in.Facts.Cluster) {
		return ""
	}
	refused = fmt.Sprintf("this instance is registered in the cluster %s, and the agent keeps to that as long as /var/lib/ecs/data holds its registration; ECS_CLUSTER stays as it is", p.in.Facts.Cluster)
	p.report(p.from[key], note{document.Error, "ECS_CLUSTER: " + refused,
		"drain the instance, then: systemctl stop ecs && rm -rf /var/lib/ecs/data/* && fairlead render && systemctl start ecs; or replace the instance"})
	switch {
	case was:
		p.lines[spot].raw, p.lines[spot].value = key+"="+before, before
	case spot >= 0:
		p.lines[spot].gone = true
	}
	return refused
}
