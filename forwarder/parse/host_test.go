package parse

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func at(t *testing.T, text string) int64 {
	t.Helper()
	v, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return v.UnixNano()
}

// said is what was read of a line, for comparison.
func said(h *Host) string {
	var b strings.Builder
	if h.Time != 0 {
		b.WriteString(time.Unix(0, h.Time).UTC().Format(time.RFC3339Nano))
	}
	fmt.Fprintf(&b, " %s", h.Level)
	for _, f := range h.Fields {
		fmt.Fprintf(&b, " %s=%q", f.Key, f.Value)
	}
	return b.String()
}

// The lines are those of ECS agents 1.27 to 1.105 and of dockerd.
func TestLogger(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"agent", `level=info time=2026-11-21T09:15:36Z msg="Loading state! module=\"dockerstate\"" module=main.go`,
			`2026-11-21T09:15:36Z info message="Loading state! module=\"dockerstate\"" module="main.go"`},
		{"escapes", `level=warn time=2026-11-21T09:15:36Z msg="Could not parse duration value: a\"b\nc" module=parse.go`,
			`2026-11-21T09:15:36Z warn message="Could not parse duration value: a\"b\nc" module="parse.go"`},
		{"blanks without quotes", `level=error time=2026-11-21T09:15:36Z msg="Error removing volume" taskID="0123" n=5 list=[a b] dur=3s error="in use"`,
			`2026-11-21T09:15:36Z error message="Error removing volume" taskID="0123" n="5" list="[a b]" dur="3s" error="in use"`},
		{"a struct", `level=info time=2026-11-21T09:15:36Z msg="x" status={Status:X Reason:a k=v} other=1`,
			`2026-11-21T09:15:36Z info message="x" status="{Status:X Reason:a k=v}" other="1"`},
		{"a bracket that stays open", `level=info time=2026-11-21T09:15:36Z msg="x" list=[a b other=1`,
			`2026-11-21T09:15:36Z info message="x" list="[a b" other="1"`},
		{"critical", `level=critical time=2026-11-21T09:15:36Z msg="crit"`, `2026-11-21T09:15:36Z fatal message="crit"`},
		{"control bytes", `level=info time=2026-11-21T09:15:36Z msg="\x1b[31m\a\u00e9"`, "2026-11-21T09:15:36Z info message=\"\\x1b[31m\\aé\""},
		{"dockerd", `time="2026-05-01T10:00:01.223456789Z" level=warning msg="cleaning up after shim disconnected" id=4ee454b15be1 namespace=moby`,
			`2026-05-01T10:00:01.223456789Z warn message="cleaning up after shim disconnected" id="4ee454b15be1" namespace="moby"`},
		{"dockerd in its own zone", `time="2026-05-01T12:00:00+02:00" level=info msg="API listen on /var/run/docker.sock"`,
			`2026-05-01T10:00:00Z info message="API listen on /var/run/docker.sock"`},
		{"json", `{"level":"error","time":"2026-11-21T09:15:36Z","msg":"Error removing volume","dur":3000000000,"error":"in use","list":["a","b"],"n":5,"taskID":"0123"}`,
			`2026-11-21T09:15:36Z error message="Error removing volume" dur="3000000000" error="in use" list="[\"a\",\"b\"]" n="5" taskID="0123"`},
		{"json that is none", `{"level":"info","time":"2026-11-21T09:15:36Z","msg":"a \x1b[0m \a \"b\"","module":"main.go"}`,
			`2026-11-21T09:15:36Z info message="a \x1b[0m \a \"b\"" module="main.go"`},
		{"seelog", `2019-04-26T19:51:05Z [INFO] Starting Agent: Amazon ECS Agent - v1.27.0 (aabe65ee)`,
			`2019-04-26T19:51:05Z info message="Starting Agent: Amazon ECS Agent - v1.27.0 (aabe65ee)"`},
		{"before the logger", `1795252538377970885 [Error] Driver log level mapping not found`,
			`2026-11-21T09:15:38.377970885Z error message="Driver log level mapping not found"`},
		{"text", `goroutine 1 [running]:`, ""},
		{"no level", `time="2026-05-01T10:00:00Z" msg="x" of="something else"`, ""},
		{"no time", `level=info msg="x"`, ""},
		{"other json", `{"a":1,"b":"something longer"}`, ""},
		{"cut json", `{"level":"info","time":"2026-11-21T09:15:36Z","msg":"a`, ""},
		{"empty", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h Host
			ok := Logger([]byte(c.line), &h)
			if ok != (c.want != "") {
				t.Fatalf("read: %v", ok)
			}
			if got := said(&h); ok && got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			} else if !ok && got != " " {
				t.Errorf("a line that was refused left %s", got)
			}
		})
	}
}

func TestAudit(t *testing.T) {
	const head = `2026-11-21T09:15:36Z 200 172.17.0.4:41562 `
	for _, c := range []struct{ name, line, want string }{
		{"whole", head + `"/v2/credentials" "aws-cli/2.15.30 Python/3.11.8" arn:aws:ecs:eu-west-1:1:task/prod/f GetCredentials 2 prod arn:aws:ecs:eu-west-1:1:container-instance/prod/0`,
			`status="200" remote_addr="172.17.0.4:41562" path="/v2/credentials" user_agent="aws-cli/2.15.30 Python/3.11.8" ecs_task_arn="arn:aws:ecs:eu-west-1:1:task/prod/f" event="GetCredentials" version="2" ecs_cluster="prod" container_instance_arn="arn:aws:ecs:eu-west-1:1:container-instance/prod/0"`},
		{"unknown", head + `"/v2/credentials" "" - GetCredentialsExecutionRole 2 - arn:x`,
			`status="200" remote_addr="172.17.0.4:41562" path="/v2/credentials" event="GetCredentialsExecutionRole" version="2" container_instance_arn="arn:x"`},
		{"cut after the task", head + `"/v4/abc/task" "" - `, `status="200" remote_addr="172.17.0.4:41562" path="/v4/abc/task"`},
		{"quotes in the user agent", head + `"/v2/credentials" "a "b" c" arn:t GetCredentials 2 prod arn:x`,
			`status="200" remote_addr="172.17.0.4:41562" path="/v2/credentials" user_agent="a \"b\" c" ecs_task_arn="arn:t" event="GetCredentials" version="2" ecs_cluster="prod" container_instance_arn="arn:x"`},
		{"text", "something else that is written there", ""},
		{"too many columns", head + `"/v2/credentials" "" - a b c d e f`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h Host
			ok := Audit([]byte(c.line), &h)
			if ok != (c.want != "") {
				t.Fatalf("read: %v", ok)
			}
			if want := "2026-11-21T09:15:36Z  " + c.want; ok && said(&h) != want {
				t.Errorf("got  %s\nwant %s", said(&h), want)
			}
		})
	}
}

func TestSyslog(t *testing.T) {
	near := at(t, "2026-05-02T00:00:00Z")
	east := time.FixedZone("east", 2*3600)
	for _, c := range []struct {
		name, line string
		zone       *time.Location
		want       string
	}{
		{"with a pid", "May  1 10:00:00 ip-10-0-1-2 sshd[12]: hello: you", time.UTC, `2026-05-01T10:00:00Z  message="hello: you" ident="sshd" pid="12" hostname="ip-10-0-1-2"`},
		{"in the host's zone", "May  1 10:00:00 h kernel: x", east, `2026-05-01T08:00:00Z  message="x" ident="kernel" hostname="h"`},
		{"of last year", "Dec 31 23:59:59 h kernel: x", time.UTC, `2025-12-31T23:59:59Z  message="x" ident="kernel" hostname="h"`},
		{"of a leap year", "Feb 29 12:00:00 h kernel: x", time.UTC, `2024-02-29T12:00:00Z  message="x" ident="kernel" hostname="h"`},
		{"of a clock that is ahead", "May  2 01:00:00 h kernel: x", time.UTC, `2026-05-02T01:00:00Z  message="x" ident="kernel" hostname="h"`},
		{"dockerd", `May  1 10:00:00 h dockerd: time="2026-05-01T10:00:00.123456789Z" level=info msg="API listen"`, time.UTC,
			`2026-05-01T10:00:00.123456789Z info message="API listen" ident="dockerd" hostname="h"`},
		{"nobody", "May  1 10:00:00 h last message repeated 2 times", time.UTC, `2026-05-01T10:00:00Z  message="last message repeated 2 times" hostname="h"`},
		{"with a year", "2026-05-01T10:00:00.123456+00:00 h cron[7]: x", east, `2026-05-01T10:00:00.123456Z  message="x" ident="cron" pid="7" hostname="h"`},
		{"no such day", "Feb 31 10:00:00 h kernel: x", time.UTC, ""},
		{"text", "something else that is there", time.UTC, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h Host
			ok := Syslog([]byte(c.line), near, c.zone, &h)
			if ok != (c.want != "") {
				t.Fatalf("read: %v", ok)
			}
			if ok && said(&h) != c.want {
				t.Errorf("got  %s\nwant %s", said(&h), c.want)
			}
		})
	}
}

func TestCloudInit(t *testing.T) {
	var h Host
	if !CloudInit([]byte("2026-11-21 09:15:36,123 - util.py[WARNING]: Running module x ([a]: b) failed"), &h) {
		t.Fatal("not read")
	}
	if got, want := said(&h), `2026-11-21T09:15:36.123Z warn module="util.py" message="Running module x ([a]: b) failed"`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if CloudInit([]byte("Cloud-init v. 19.3 running 'init' at Thu, 01 May 2026"), &h) || len(h.Fields) > 0 || h.Time != 0 {
		t.Errorf("text was read as %s", said(&h))
	}
}

// FuzzLoggerPairs: whatever is in a line, its pairs are the line, and what the agent quotes comes back as it was.
func FuzzLoggerPairs(f *testing.F) {
	f.Add("text", "value", `level=info time=2026-11-21T09:15:36Z msg="x" list=[a b] n={a:b c=d}`)
	f.Add("a\"b\n\x1b\xff", "é\u2028 k=v", `time="2026-05-01T10:00:00Z" level=info msg="x`)
	f.Add("", "[", "level=warn time=2026-05-01T10:00:00Z msg=\"x\" a=[b c=d")
	f.Fuzz(func(t *testing.T, msg, value, line string) {
		if strings.ContainsAny(line, "\n") {
			return
		}
		trimmed := strings.TrimRight(line, "\r ")
		var pairs []string
		rest, whole := []byte(trimmed), true
		for whole && len(rest) > 0 {
			var key, value []byte
			if key, value, rest = nextPair(rest); key == nil {
				whole = false
				break
			}
			pairs = append(pairs, string(key)+"="+string(value))
		}
		if joined := strings.Join(pairs, " "); !strings.HasPrefix(trimmed, joined) || whole && joined != trimmed {
			t.Errorf("pairs are not the line:\n%q\n%q", pairs, trimmed)
		}
		var h Host
		if Logger([]byte(line), &h) {
			checkHost(t, &h)
		} else if h.Time != 0 || h.Level != "" || len(h.Fields) > 0 {
			t.Errorf("a line that was refused left %s", said(&h))
		}

		// As the agent writes it.
		written := fmt.Sprintf("level=error time=2026-11-21T09:15:36Z msg=%q n=[a k=v] value=%q", msg, value)
		if !Logger([]byte(written), &h) {
			t.Fatalf("not read: %s", written)
		}
		for _, want := range [][2]string{{"message", msg}, {"n", "[a k=v]"}, {"value", value}} {
			if got := fieldOf(&h, want[0]); got != want[1] {
				t.Errorf("%s: got %q, want %q", want[0], got, want[1])
			}
		}
	})
}

// FuzzLoggerJSON: what encoding/json reads is read the same, and texts that Go quoted come back.
func FuzzLoggerJSON(f *testing.F) {
	f.Add("text", `{"level":"info","time":"2026-11-21T09:15:36Z","msg":"x","n":5,"o":{"a":["b",1]}}`)
	f.Add("\x1b\a\xff\"", `{ "level" : "info" , "time" : "2026-11-21T09:15:36Z", "k":"\u00e9\ud83d\ude00\/" }`)
	f.Fuzz(func(t *testing.T, msg, line string) {
		var h Host
		written := fmt.Sprintf(`{"level":"info","time":"2026-11-21T09:15:36Z","msg":%q,"module":"x.go"}`, msg)
		if !Logger([]byte(written), &h) {
			t.Fatalf("not read: %s", written)
		}
		if got := fieldOf(&h, "message"); got != msg {
			t.Errorf("message: got %q, want %q", got, msg)
		}
		if got := fieldOf(&h, "module"); got != "x.go" {
			t.Errorf("module: got %q", got)
		}
		if !strings.HasPrefix(line, "{") || !Logger([]byte(line), &h) {
			return
		}
		checkHost(t, &h)
		var v map[string]json.RawMessage
		if !utf8.ValidString(line) || json.Unmarshal([]byte(line), &v) != nil {
			return
		}
		for _, field := range h.Fields {
			key := field.Key
			if _, there := v[key]; !there && key == "message" {
				key = "msg"
			}
			var s string
			if json.Unmarshal(v[key], &s) != nil {
				continue
			}
			if strings.Count(line, `"`+key+`"`) == 1 && strings.Count(line, "essage")+strings.Count(line, "msg") <= 1 && !strings.Contains(line, `\`) && s != string(field.Value) {
				t.Errorf("%s: got %q, want %q", key, field.Value, s)
			}
		}
	})
}

// FuzzAudit: a user agent of any kind comes back as it was, and all other columns with it.
func FuzzAudit(f *testing.F) {
	f.Add("aws-cli/2", "/v2/credentials", "free text")
	f.Add(`a" "b" -`, "/v4/x/task", `2026-11-21T09:15:36Z 200 172.17.0.4:41562 "/v4/abc/task" "" - `)
	f.Fuzz(func(t *testing.T, agent, path, line string) {
		var h Host
		if Audit([]byte(line), &h) {
			checkHost(t, &h)
		} else if len(h.Fields) > 0 || h.Time != 0 {
			t.Errorf("a line that was refused left %s", said(&h))
		}
		if strings.ContainsAny(agent+path, "\r\n") || agent == "-" || agent == "" || path == "-" || path == "" || strings.Contains(path, `"`) {
			return
		}
		written := fmt.Sprintf(`2026-11-21T09:15:36Z 200 172.17.0.4:41562 "%s" "%s" arn:task GetCredentials 2 prod arn:instance`, path, agent)
		if !Audit([]byte(written), &h) {
			t.Fatalf("not read: %s", written)
		}
		got := map[string]string{}
		for _, f := range h.Fields {
			got[f.Key] = string(f.Value)
		}
		want := map[string]string{"status": "200", "remote_addr": "172.17.0.4:41562", "path": path, "user_agent": agent,
			"ecs_task_arn": "arn:task", "event": "GetCredentials", "version": "2", "ecs_cluster": "prod", "container_instance_arn": "arn:instance"}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// FuzzSyslog: a line written as rsyslog does comes back with its time, whatever the day; CloudInit likewise.
func FuzzSyslog(f *testing.F) {
	f.Add(int64(1795252538), "dockerd", "text", "May  1 10:00:00 h x[1]: y")
	f.Add(int64(1709164800), "kernel", `time="2026-05-01T10:00:00Z" level=info msg="x"`, "2026-11-21 09:15:36,123 - util.py[DEBUG]: x")
	f.Fuzz(func(t *testing.T, sec int64, ident, text, line string) {
		var h Host
		near := int64(1795252538) * 1e9
		if Syslog([]byte(line), near, time.UTC, &h) {
			checkHost(t, &h)
		}
		if CloudInit([]byte(line), &h) {
			checkHost(t, &h)
		}
		if sec < 1e9 || sec > 4e9 || strings.ContainsAny(text, "\r\n") || ident == "" || ident == "-" || strings.ContainsAny(ident, " :[]\r\n") {
			return
		}
		when := time.Unix(sec, 0).UTC()
		written := when.Format("Jan _2 15:04:05") + " host " + ident + "[7]: " + text
		if !Syslog([]byte(written), sec*1e9+int64(time.Hour), time.UTC, &h) {
			t.Fatalf("not read: %q", written)
		}
		if d := h.Time - sec*1e9; d < -int64(time.Hour) || d > int64(time.Hour) {
			t.Errorf("time: got %d, want %d", h.Time, sec*1e9)
		}
		var inner Host
		if !Logger([]byte(text), &inner) {
			if got := fieldOf(&h, "message"); got != text {
				t.Errorf("message: got %q, want %q", got, text)
			}
			if got := fieldOf(&h, "ident"); got != ident {
				t.Errorf("ident: got %q, want %q", got, ident)
			}
		}
		who, what := SyslogIdent([]byte(written))
		if string(who) != ident || string(what) != text {
			t.Errorf("SyslogIdent: %q %q, want %q %q", who, what, ident, text)
		}
	})
}

func fieldOf(h *Host, key string) string {
	for _, f := range h.Fields {
		if f.Key == key {
			return string(f.Value)
		}
	}
	return ""
}

func checkHost(t *testing.T, h *Host) {
	t.Helper()
	if h.Level != "" && LevelName([]byte(h.Level)) != h.Level {
		t.Errorf("level %q", h.Level)
	}
	keys := map[string]bool{}
	for _, f := range h.Fields {
		if f.Key == "" || keys[f.Key] || !utf8.ValidString(f.Key) || f.Key == "msg" {
			t.Errorf("key %q is empty or comes twice: %s", f.Key, said(h))
		}
		keys[f.Key] = true
	}
}
