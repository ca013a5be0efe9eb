package ecsconfig

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// byInit reads a file as ecs-init does.
func byInit(text string) map[string]string {
	m := map[string]string{}
	for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
		l = strings.TrimSpace(l)
		if i := strings.Index(l, "="); i >= 0 {
			m[l[:i]] = l[i+1:]
		}
	}
	return m
}

// bySystemd reads a file as systemd does with EnvironmentFile=.
func bySystemd(text string) map[string]string {
	m := map[string]string{}
	key, value, state := "", "", "before key"
	end := func() {
		name := strings.TrimRight(key, " \t")
		if keyish.MatchString(name) {
			m[name] = value
		}
		key, value, state = "", "", "before key"
	}
	blanks := ""
	for _, c := range text + "\n" {
		s := string(c)
		switch state {
		case "before key":
			switch {
			case strings.ContainsRune("#;", c):
				state = "comment"
			case !strings.ContainsRune(" \t\n\r", c):
				state, key = "key", s
			}
		case "comment":
			if c == '\n' {
				state = "before key"
			}
		case "key":
			switch c {
			case '\n', '\r':
				state = "before key"
			case '=':
				state, blanks = "before value", ""
			default:
				key += s
			}
		case "before value":
			switch {
			case c == '\n' || c == '\r':
				end()
			case c == '\'':
				state = "single"
			case c == '"':
				state = "double"
			case c == '\\':
				state = "escaped"
			case c != ' ' && c != '\t':
				state, value = "value", value+s
			}
		case "value":
			switch c {
			case '\n', '\r':
				end()
			case '\\':
				value, blanks, state = value+blanks, "", "escaped"
			case ' ', '\t':
				blanks += s
			default:
				value, blanks = value+blanks+s, ""
			}
		case "escaped":
			if c != '\n' {
				value += s
			}
			state = "value"
		case "single":
			if c == '\'' {
				state = "before value"
			} else {
				value += s
			}
		case "double":
			switch c {
			case '"':
				state = "before value"
			case '\\':
				state = "double escaped"
			default:
				value += s
			}
		case "double escaped":
			if !strings.ContainsRune("\"\\`$", c) {
				value += `\`
			}
			if c != '\n' {
				value += s
			}
			state = "double"
		}
	}
	return m
}

// byDocker reads a file as docker run --env-file does; not at all if it would refuse it.
func byDocker(text string) (m map[string]string, ok bool) {
	m = map[string]string{}
	if !utf8.ValidString(text) {
		return nil, false
	}
	for i, l := range strings.Split(text, "\n") {
		if i == 0 {
			l = strings.TrimPrefix(l, "\ufeff")
		}
		l = strings.TrimLeft(l, " \t\v\f\r\u0085\u00a0")
		if l == "" || l[0] == '#' {
			continue
		}
		name, value, set := strings.Cut(l, "=")
		if name == "" || strings.ContainsAny(name, " \t\v\f\r") {
			return nil, false
		}
		if set {
			m[name] = value
		}
	}
	return m, true
}

// survives tells whether the agent starts with these settings.
func survives(m map[string]string) string {
	for _, key := range []string{"ECS_INSTANCE_ATTRIBUTES", "ECS_CONTAINER_INSTANCE_TAGS"} {
		var v map[string]string
		if m[key] != "" && json.Unmarshal([]byte(m[key]), &v) != nil {
			return key
		}
	}
	if s := m["ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES"]; s != "" {
		var v []string
		if json.Unmarshal([]byte(s), &v) != nil {
			return "ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES"
		}
		for _, one := range v {
			if _, err := netip.ParsePrefix(one); err != nil {
				return "ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES"
			}
		}
	}
	var drivers []string
	_ = json.NewDecoder(strings.NewReader(m["ECS_AVAILABLE_LOGGING_DRIVERS"])).Decode(&drivers)
	for _, d := range drivers {
		if !slices.Contains(table()["ECS_AVAILABLE_LOGGING_DRIVERS"].Values, d) {
			return "ECS_AVAILABLE_LOGGING_DRIVERS"
		}
	}
	var ports []uint16
	if err := json.NewDecoder(strings.NewReader(m["ECS_RESERVED_PORTS"])).Decode(&ports); err != nil && len(ports) > 0 {
		return "ECS_RESERVED_PORTS"
	}
	if d, err := time.ParseDuration(m["ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER"]); err == nil && d < 0 {
		return "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER"
	}
	if _, ok := m[""]; ok {
		return "a value without a name"
	}
	return ""
}

// holds checks what must hold of a plan, whatever went in.
func holds(t interface{ Fatalf(string, ...any) }, in Input) {
	p := Make(in)
	text := string(p.Text)
	if what := survives(byInit(text)); what != "" {
		t.Fatalf("the agent ends over %s, or takes a part of it:\n%s\nfrom %q %v", what, text, in.Text, in.Lines)
	}
	in.Text = p.Text
	if again := Make(in); string(again.Text) != text || len(again.Changes) > 0 {
		t.Fatalf("rendered again:\n%q\nis not\n%q", again.Text, text)
	}
	systemd := bySystemd(text)
	docker, accepts := byDocker(text)
	for key, value := range byInit(text) {
		if _, known := table()[key]; known && accepts && strings.TrimRight(docker[key], " \t\r\v\f") != value {
			t.Fatalf("%s: ecs-init reads %q, docker %q", key, value, docker[key])
		}
		if _, known := table()[key]; known && !strings.ContainsAny(value, `\'"`) && utf8.ValidString(value) && !strings.ContainsAny(value, "\r\x00\v\f\u0085\u00a0") && systemd[key] != value {
			// A quote that some other line opens may swallow this one, for systemd alone.
			if !strings.ContainsAny(text, `\'"`) {
				t.Fatalf("%s: ecs-init reads %q, systemd %q", key, value, systemd[key])
			}
		}
	}
}

// The oracles read what was observed of what they stand for.
func TestOracles(t *testing.T) {
	systemd := bySystemd("A=[\"json-file\",\"awslogs\"]\nB='[\"json-file\",\"awslogs\"]'\nC=\"[\"json-file\",\"awslogs\"]\"\nD={\"stack\": \"prod\"}\nF = x\nexport G=1\nH=back\\slash\n" +
		"I={\\\"a\\\":1}\nJ=1\nJ=2\nN='a\nb'\nO=$HOME\nL=a #b\n# P=1\n; Q=1\n")
	for name, want := range map[string]string{"A": `["json-file","awslogs"]`, "B": `["json-file","awslogs"]`, "C": `[json-file","awslogs"]"`, "D": `{"stack": "prod"}`, "F": "x", "H": "backslash",
		"I": `{"a":1}`, "J": "2", "N": "a\nb", "O": "$HOME", "L": "a #b"} {
		if got := systemd[name]; got != want {
			t.Errorf("systemd: %s is %q, want %q", name, got, want)
		}
	}
	if len(systemd) != 11 {
		t.Errorf("systemd: %v", systemd)
	}
	init := byInit("\ufeffA=1\n  B=2  \r\nC = x\nexport D=1\n# E=b\nnothing\nF=\"x\"\nG=1\nG=2\nH=\n=x\n")
	if want := map[string]string{"\ufeffA": "1", "B": "2", "C ": " x", "export D": "1", "# E": "b", "F": `"x"`, "G": "2", "H": "", "": "x"}; !maps.Equal(init, want) {
		t.Errorf("ecs-init: %q, want %q", init, want)
	}
	if m, ok := byDocker("  A=\"x\" \n# B=1\nC\nD=1\nD=2\n"); !ok || !maps.Equal(m, map[string]string{"A": `"x" `, "D": "2"}) {
		t.Errorf("docker: %q, %v", m, ok)
	}
	for _, text := range []string{"export A=1\n", "=x\n", "A = 1\n"} {
		if m, ok := byDocker(text); ok {
			t.Errorf("docker takes %q: %q", text, m)
		}
	}
}

func TestReaders(t *testing.T) {
	keys := append([]string{"X", "", "ECS_CLUSTR", "export ECS_CLUSTER", " ECS_LOGLEVEL "}, names()...)
	value := rapid.OneOf(
		rapid.SampledFrom([]string{"", "a", "true", "1", "yes", "0", "0s", "5m", "-1m", "90", "1d", `["json-file","awslogs"]`, `[json-file,awslogs]`, `'["json-file"]'`, `["local"]`, `[70000]`, "[22,80]", `[22,"x"]`,
			"[22", `{"a":"b"}`, `{a:b}`, `{"a":1}`, `{"a":"b"} x`, `["10.0.0.0/16"]`, `["10.0.0.0"]`, `"quoted"`, "“curled”", "40,60", "1-2", " x ", "null", "[null]", `{"a":null}`, `["fluentd\"]`, `["json-file",]`, "[]", "{}"}),
		rapid.StringMatching(`[-a-zA-Z0-9 \[\]{}"',:=\\#$]{0,20}`),
	)
	line := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "", "", "", "# ", "export ", "\ufeff"}).Draw(t, "lead") + rapid.SampledFrom(keys).Draw(t, "key") +
			rapid.SampledFrom([]string{"=", "=", "=", " = ", ""}).Draw(t, "sign") + value.Draw(t, "value") + rapid.SampledFrom([]string{"", "", "\r"}).Draw(t, "end")
	})
	rapid.Check(t, func(t *rapid.T) {
		in := Input{File: "f", Text: []byte(strings.Join(rapid.SliceOfN(line, 0, 6).Draw(t, "file"), "\n"))}
		in.Lines = lines(strings.ReplaceAll(strings.Join(rapid.SliceOfN(rapid.OneOf(line, rapid.Just(">")), 0, 4).Draw(t, "script"), "\n"), "\r", ""))
		for range rapid.IntRange(0, 3).Draw(t, "settings") {
			in.Settings = append(in.Settings, declared(rapid.SampledFrom(keys).Draw(t, "key"), value.Draw(t, "value"))...)
		}
		holds(t, in)
	})
}

// No text makes the plan panic, end the agent, or differ the second time.
func FuzzMake(f *testing.F) {
	f.Add("ECS_CLUSTER=a\n", "ECS_CLUSTER=b", "ECS_LOGLEVEL", "debug")
	f.Add("\ufeffexport A = 'x'\r\n=x\n", ">\nECS_RESERVED_PORTS=[70000]", "ECS_INSTANCE_ATTRIBUTES", `{"a":1}`)
	f.Fuzz(func(t *testing.T, file, script, key, value string) {
		if len(file)+len(script)+len(value) > 4000 || strings.ContainsAny(script, "\r\x00") {
			t.Skip()
		}
		holds(t, Input{File: "f", Text: []byte(file), Lines: lines(script), Settings: declared(key, value)})
	})
}

// Every one of the agent's keys is known, and its default is no finding.
func TestTable(t *testing.T) {
	if got := len(table()); got != 112 {
		t.Errorf("%d keys, want 112", got)
	}
	for name, k := range table() {
		def := k.without()
		if k.Platform != "" || def == "nothing" || strings.ContainsAny(def, " ") && !strings.HasPrefix(def, "[") || def == "[]" || def == "{}" || k.Type == "enum" || strings.HasPrefix(k.Type, "json") && def == "" {
			continue
		}
		if v := judge(name, strings.ReplaceAll(strings.ReplaceAll(def, "\n", ""), ", ", ",")); len(v.notes) > 0 && def != "0" && def != "0s" {
			t.Errorf("%s=%s, its default: %v", name, def, v.notes)
		}
	}
}

// A value that is plainly none of its type is never passed over in silence, whatever the key.
func TestEveryKey(t *testing.T) {
	wrong := map[string]string{"bool": "maybe", "duration": "soon", "int": "many", "uint16": "-1", "float": "much", "enum": "none of them", "int-pair": "1", "port-range": "9-1",
		"json-list-uint16": `["a"]`, "json-list-enum": `["a"]`, "json-list-string": `[1]`, "json-list-cidr": `["a"]`, "json-object-string": `{"a":1}`, "path": "relative"}
	for name, k := range table() {
		value, ok := wrong[k.Type]
		if !ok {
			continue
		}
		p := Make(Input{File: "f", Text: []byte(name + "=" + value + "\n")})
		if said := said(p.Findings); !strings.Contains(said, "f:1:1: ") || !strings.Contains(said, name) {
			t.Errorf("%s=%s (%s): %q", name, value, k.Type, said)
		}
		if k.fatal() && len(p.Text) > 0 {
			t.Errorf("%s=%s is fatal, and written", name, value)
		}
		// The same for what is out of bounds.
		for _, bound := range []json.RawMessage{k.Min, k.Max} {
			if bound == nil || strings.HasPrefix(k.Type, "json") {
				continue
			}
			if v := judge(name, bare(bound)); len(v.notes) > 0 && !strings.Contains(v.notes[0].text, "zero") {
				t.Errorf("%s=%s is the bound itself: %v", name, bare(bound), v.notes)
			}
		}
	}
}

// Facts about the host are held against the settings.
func TestCross(t *testing.T) {
	yes, no := true, false
	const drivers = "ECS_AVAILABLE_LOGGING_DRIVERS=[\"json-file\",\"fluentd\",\"splunk\",\"awsfirelens\"]\n"
	const wait = "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=6h\n"
	const spot = "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true\n"
	for _, c := range []struct {
		name, file string
		facts      Facts
		want       string
	}{
		{"nothing known", drivers + wait + spot, Facts{}, ""},
		{"a driver that the engine lacks", drivers, Facts{EngineDrivers: []string{"json-file", "fluentd"}}, `f:1:1: warning: ECS_AVAILABLE_LOGGING_DRIVERS: the Docker engine of this host has no driver "splunk"`},
		{"all drivers there", drivers, Facts{EngineDrivers: []string{"json-file", "fluentd", "splunk"}}, ""},
		{"no listener", drivers, Facts{Listens: &no}, "f:1:1: warning: ECS_AVAILABLE_LOGGING_DRIVERS: fluentd is listed, but nothing listens for it"},
		{"a listener", drivers, Facts{Listens: &yes}, ""},
		{"full before clean-up", wait, Facts{UntilFull: 2 * time.Hour}, "f:1:1: warning: ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION: stopped tasks are kept for 6h0m0s, but the disk is full in 2h0m0s"},
		{"full before clean-up by default", "", Facts{UntilFull: time.Hour}, "f: warning: ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION: stopped tasks are kept for 3h0m0s, but the disk is full in 1h0m0s"},
		{"room enough", wait, Facts{UntilFull: 24 * time.Hour}, ""},
		{"two that drain", spot, Facts{Drains: &yes}, "f:1:1: warning: ECS_ENABLE_SPOT_INSTANCE_DRAINING: fairlead drains on Spot notices too"},
		{"one that drains", spot, Facts{Drains: &no}, ""},
		{"upstart", "ECS_LOG_DRIVER=syslog\nECS_LOGLEVEL_ON_INSTANCE=info\n", Facts{Upstart: true}, "f:1:1: warning: ECS_LOG_DRIVER: has no effect here: under upstart"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Make(Input{File: "f", Text: []byte(c.file), Facts: c.facts})
			if got := said(p.Findings); !strings.Contains(got, c.want) || c.want == "" && got != "" || strings.Count(got, "\n") > 1 {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// What is secret is in no finding, and masked wherever the text is shown.
func TestSecrets(t *testing.T) {
	const secret = "hunter2"
	text := "ECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA={\"r\":{\"password\":\"" + secret + "\"}\nHTTP_PROXY=http://u:" + secret + "@p:1\nAWS_SECRET_ACCESS_KEY='" + secret + "'\nMY_TOKEN=" + secret + "\nexport DB_PASSWORD = " + secret + "\n"
	s := declared("ECS_CLUSTER", secret+"!", "ECS_RESERVED_PORTS", "["+secret+"]")
	for i := range s {
		s[i].Secret = true // looked up
	}
	p := Make(Input{File: "f", Text: []byte(text), Settings: s})
	for what, shown := range map[string]string{"findings": said(p.Findings), "text": p.Shown(p.Text), "diff": p.Diff("f", []byte(text)), "diff of a new file": p.Diff("f", nil)} {
		if strings.Contains(shown, secret) {
			t.Errorf("the %s hold it:\n%s", what, shown)
		}
	}
	if !p.Secret {
		t.Error("the file is not taken for one with secrets")
	}
}
