package ecsconfig

import "testing"

func TestUpstart(t *testing.T) {
	for status, want := range map[string]State{
		"ecs start/running, process 2761\n":                         {Upstart: true, Running: true, PID: "2761"},
		"ecs stop/waiting\n":                                        {Upstart: true},
		"ecs start/pre-start, process 7\n":                          {Upstart: true, Running: true, PID: "7"},
		"ecs start/post-start, process 7\n\tpost-start process 8\n": {Upstart: true, Running: true, PID: "7"},
		"ecs stop/killed, process 2761\n":                           {Upstart: true, PID: "2761"},
		"ecs start/running\n":                                       {Upstart: true, Running: true},
	} {
		if got := upstart(status); got != want {
			t.Errorf("%q: %+v, want %+v", status, got, want)
		}
	}
}
