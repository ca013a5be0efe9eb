package ecsconfig

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/edit"
)

// lines makes what a script writes of a text; a line > empties the file.
func lines(text string) []edit.Line {
	var out []edit.Line
	for i, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		at := document.Place{File: "script", Line: i + 1, Column: 1}
		if l == ">" {
			out = append(out, edit.Line{Truncate: true, At: at})
		} else if text != "" {
			out = append(out, edit.Line{Text: l, At: at})
		}
	}
	return out
}

func declared(pairs ...string) []Setting {
	var out []Setting
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, Setting{Key: pairs[i], Value: pairs[i+1], At: document.Place{File: "yaml", Line: i/2 + 1, Column: 3}})
	}
	return out
}

func said(findings []document.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

func TestMake(t *testing.T) {
	const drivers = `ECS_AVAILABLE_LOGGING_DRIVERS=["json-file","awslogs"]`
	for _, c := range []struct {
		name, file, script string
		settings           []Setting
		want               string
		say                string // part of a finding; empty: there is none
	}{
		{"nothing", "", "", nil, "", ""},
		{"comments and order stay", "# mine\nECS_CLUSTER=a\n\n; note\nECS_LOGLEVEL=info\n", "", declared("ECS_LOGLEVEL", "debug"), "# mine\nECS_CLUSTER=a\n\n; note\nECS_LOGLEVEL=debug\n", ""},
		{"nothing changes", "# a\r\n", "", nil, "# a\n", "CRLF"},
		{"no newline at the end", "ECS_CLUSTER=a", "", nil, "ECS_CLUSTER=a", ""},
		{"no newline at the end, one more", "ECS_CLUSTER=a", "ECS_LOGLEVEL=info", nil, "ECS_CLUSTER=a\nECS_LOGLEVEL=info\n", ""},
		{"file < script < yaml < user data", "ECS_CLUSTER=a\nECS_LOGLEVEL=info\n", "ECS_CLUSTER=b\nECS_LOGLEVEL=warn", declared("ECS_CLUSTER", "c", "ECS_CLUSTER", "d"), "ECS_CLUSTER=d\nECS_LOGLEVEL=warn\n", ""},
		{"the script has run", "ECS_CLUSTER=b\n", "ECS_CLUSTER=b", nil, "ECS_CLUSTER=b\n", ""},
		{"emptied", "A=1\nECS_CLUSTER=a\n", ">\nECS_CLUSTER=b", nil, "ECS_CLUSTER=b\n", "A, ECS_CLUSTER of before is lost"},
		{"emptied before", "# note\nECS_CLUSTER=b\nECS_LOGLEVEL=info\n", ">\nECS_CLUSTER=b", nil, "# note\nECS_CLUSTER=b\nECS_LOGLEVEL=info\n", ""},
		{"quotes eaten", "", "ECS_AVAILABLE_LOGGING_DRIVERS=[json-file,awslogs]", nil, drivers + "\n", "script:1:1: error: ECS_AVAILABLE_LOGGING_DRIVERS: its quotes are lost or too many"},
		{"quotes eaten, in the file", "ECS_AVAILABLE_LOGGING_DRIVERS=[json-file,awslogs]\n", "", nil, drivers + "\n", "corrected"},
		{"single quotes", `ECS_AVAILABLE_LOGGING_DRIVERS='["json-file","awslogs"]'` + "\n", "", nil, drivers + "\n", "corrected"},
		{"smart quotes", "ECS_AVAILABLE_LOGGING_DRIVERS=[“json-file”,”awslogs“]\n", "", nil, drivers + "\n", "corrected"},
		{"blanks in JSON stay in the file", `ECS_AVAILABLE_LOGGING_DRIVERS=["json-file", "awslogs"]` + "\n", "", nil, `ECS_AVAILABLE_LOGGING_DRIVERS=["json-file", "awslogs"]` + "\n", ""},
		{"blanks in JSON are not written", "", `ECS_AVAILABLE_LOGGING_DRIVERS=["json-file", "awslogs"]`, nil, drivers + "\n", ""},
		{"blanks round =", "ECS_CLUSTER = a\n", "", nil, "ECS_CLUSTER=a\n", "blank before the ="},
		{"export", "export ECS_CLUSTER=a\n", "", nil, "ECS_CLUSTER=a\n", `"export" before`},
		{"byte order mark", "\ufeffECS_CLUSTER=a\n", "", nil, "ECS_CLUSTER=a\n", "byte order mark"},
		{"CRLF", "ECS_CLUSTER=a\r\nECS_LOGLEVEL=info\r\n", "", nil, "ECS_CLUSTER=a\nECS_LOGLEVEL=info\n", "CRLF"},
		{"no name", "=x\nECS_CLUSTER=a\n", "", nil, "ECS_CLUSTER=a\n", "without a name"},
		{"whole line in quotes", `"ECS_CLUSTER=a"` + "\n", "", nil, "ECS_CLUSTER=a\n", "whole line"},
		{"cluster in quotes", `ECS_CLUSTER="a"` + "\n", "", nil, "ECS_CLUSTER=a\n", "keeps the quotes"},
		{"unknown key", "ECS_CLUSTR=a\n", "", nil, "ECS_CLUSTR=a\n", "did you mean ECS_CLUSTER?"},
		{"unknown driver", `ECS_AVAILABLE_LOGGING_DRIVERS=["json-file","local"]` + "\nECS_CLUSTER=a\n", "", nil, "ECS_CLUSTER=a\n", `no logging driver "local"`},
		{"unknown driver, former value", drivers + "\n", `ECS_AVAILABLE_LOGGING_DRIVERS=["json-file","local"]`, nil, drivers + "\n", "left out"},
		{"unknown driver, quotes eaten", "", `ECS_AVAILABLE_LOGGING_DRIVERS=[json-file,local]`, nil, "", "left out"},
		{"unknown driver declared", drivers + "\n", "", declared("ECS_AVAILABLE_LOGGING_DRIVERS", `["lokal"]`), drivers + "\n", "yaml:1:3: error"},
		{"later line refused", "ECS_RESERVED_PORTS=[22]\nECS_RESERVED_PORTS=[70000]\n", "", nil, "ECS_RESERVED_PORTS=[22]\n", "would take only the part before it; left out"},
		{"port in quotes", "ECS_RESERVED_PORTS=[22,\"80\"]\n", "", nil, "", "left out"},
		{"no list", "ECS_RESERVED_PORTS=22,80\n", "", nil, "ECS_RESERVED_PORTS=22,80\n", "the agent uses its default"},
		{"attributes", `ECS_INSTANCE_ATTRIBUTES={"a":1}` + "\n", "", nil, "", "again and again; left out"},
		{"attributes, quotes eaten", "", `ECS_INSTANCE_ATTRIBUTES={stack:prod}`, nil, `ECS_INSTANCE_ATTRIBUTES={"stack":"prod"}` + "\n", "corrected"},
		{"attributes, quotes and braces eaten", "", `ECS_INSTANCE_ATTRIBUTES=stack:prod ECS_INSTANCE_ATTRIBUTES=tier:web`, nil, `ECS_INSTANCE_ATTRIBUTES={"stack":"prod","tier":"web"}` + "\n", "corrected"},
		{"JSON over lines", "ECS_INSTANCE_ATTRIBUTES={\n  \"a\": \"b\"\n}\nECS_CLUSTER=x\n", "", nil, "ECS_INSTANCE_ATTRIBUTES={\"a\":\"b\"}\nECS_CLUSTER=x\n", "spread over lines"},
		{"JSON over lines, scripted", "", "ECS_INSTANCE_ATTRIBUTES={\n  \"a\": \"b\"\n}\nECS_CLUSTER=x", nil, "ECS_INSTANCE_ATTRIBUTES={\"a\":\"b\"}\nECS_CLUSTER=x\n", "spread over lines"},
		{"duration without unit", "ECS_CONTAINER_STOP_TIMEOUT=90\n", "", nil, "ECS_CONTAINER_STOP_TIMEOUT=90\n", "write ECS_CONTAINER_STOP_TIMEOUT=90s"},
		{"duration below minimum", "ECS_IMAGE_CLEANUP_INTERVAL=5m\n", "", nil, "ECS_IMAGE_CLEANUP_INTERVAL=5m\n", "its default instead: 30m"},
		{"duration raised", "ECS_CONTAINER_START_TIMEOUT=5s\n", "", nil, "ECS_CONTAINER_START_TIMEOUT=5s\n", "45s instead"},
		{"zero", "ECS_IMAGE_MINIMUM_CLEANUP_AGE=0s\n", "", nil, "ECS_IMAGE_MINIMUM_CLEANUP_AGE=0s\n", "=1ns"},
		{"negative jitter", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER=-5m\n", "", nil, "", "panics"},
		{"boolean", "ECS_ENABLE_SPOT_INSTANCE_DRAINING=yes\n", "", nil, "ECS_ENABLE_SPOT_INSTANCE_DRAINING=yes\n", "neither true nor false"},
		{"enum", "ECS_IMAGE_PULL_BEHAVIOR=Always\n", "", nil, "ECS_IMAGE_PULL_BEHAVIOR=Always\n", "=always"},
		{"twice", "ECS_CLUSTER=a\nECS_CLUSTER=b\n", "", nil, "ECS_CLUSTER=a\nECS_CLUSTER=b\n", "set again in line 2"},
		{"no =", "ECS_CLUSTER prod\n", "", nil, "ECS_CLUSTER prod\n", "without a ="},
		{"empty", "ECS_AVAILABLE_LOGGING_DRIVERS=\n", "", nil, "ECS_AVAILABLE_LOGGING_DRIVERS=\n", "takes away what ecs-init would set"},
		{"several lines", "", "", declared("ECS_CLUSTER", "a\nb"), "", "several lines"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Make(Input{File: "ecs.config", Text: []byte(c.file), Lines: lines(c.script), Settings: c.settings})
			if got := string(p.Text); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if got := said(p.Findings); !strings.Contains(got, c.say) || c.say == "" && got != "" {
				t.Errorf("findings:\n%swant: %s", got, c.say)
			}
			again := Make(Input{File: "ecs.config", Text: p.Text, Lines: lines(c.script), Settings: c.settings})
			if string(again.Text) != string(p.Text) || len(again.Changes) > 0 {
				t.Errorf("once more: %q, changes %v", again.Text, again.Changes)
			}
		})
	}
}

// A change that the agent does not see is none, however the file changes.
func TestChanges(t *testing.T) {
	for _, c := range []struct{ name, before, declare, want string }{
		{"a value", "ECS_LOGLEVEL=info\n", "debug", "ECS_LOGLEVEL"},
		{"the same", " ECS_LOGLEVEL=debug\n", "debug", ""},
		{"a commented one", "#ECS_LOGLEVEL=x\nECS_LOGLEVEL=debug\n", "debug", ""},
		{"in vain before", "export ECS_LOGLEVEL=debug\n", "debug", "ECS_LOGLEVEL"},
		{"twice", "ECS_LOGLEVEL=info\nECS_LOGLEVEL=debug\n", "debug", ""},
		{"line ends", "ECS_LOGLEVEL=debug\r\n", "debug", ""},
		{"a line without a name", "=x\nECS_LOGLEVEL=debug\n", "debug", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Make(Input{File: "f", Text: []byte(c.before), Settings: declared("ECS_LOGLEVEL", c.declare)})
			got := ""
			for _, change := range p.Changes {
				got += change.Key
			}
			if got != c.want {
				t.Errorf("%q became %q: changes %v, want %q", c.before, p.Text, p.Changes, c.want)
			}
		})
	}
}
