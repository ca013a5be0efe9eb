package collector

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/fairlead/fairlead/collector/redact"
)

// A log of Docker's: what the engine cuts at 16 KiB is one line, streams do not mix, what is no record passes, and after a cut in front
// nothing is shown before a line is known to begin.
func TestJSONLog(t *testing.T) {
	record := func(text, stream string) string {
		return string(mustJSON(t, map[string]any{"log": text, "stream": stream, "time": "2026-11-21T09:11:33Z"})) + "\n"
	}
	long := strings.Repeat("x ", 8<<10)
	for name, c := range map[string]struct {
		in   string
		tail bool
		want []string
	}{
		"joined":     {record(long+"password=hun", "stdout") + record("other\n", "stderr") + record("ter2\n", "stdout"), false, []string{"stderr other\n", "stdout " + long + "password=hunter2\n"}},
		"no end":     {record("a\n", "stdout") + record("b", "stdout"), false, []string{"stdout a\n", "stdout b\n"}},
		"damaged":    {record("a\n", "stdout") + "{\"log\":\"b\n" + record("c\n", "stdout"), false, []string{"stdout a\n", "{\"log\":\"b\n", "stdout c\n"}},
		"tail":       {record("ter2\n", "stdout") + record("c\n", "stdout") + record("d\n", "stderr") + record("e\n", "stderr"), true, []string{"stdout c\n", "stderr e\n"}},
		"not Docker": {"plain\n", false, []string{"plain\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
				got, err := io.ReadAll(newJSONLog(io.NopCloser(r), c.tail, time.Time{}))
				text := strings.ReplaceAll(string(got), "2026-11-21T09:11:33Z ", "")
				if err != nil || text != strings.Join(c.want, "") {
					t.Errorf("%.200q, %v", text, err)
				}
			}
		})
	}
}

// --since is about lines; of the file that is written to now at least its end is there, whenever that was.
func TestSince(t *testing.T) {
	root := t.TempDir()
	now := time.Now().UTC()
	log := func(ago ...time.Duration) []byte {
		var b bytes.Buffer
		for _, d := range ago {
			b.Write(mustJSON(t, map[string]any{"log": "from " + d.String() + " ago\n", "stream": "stdout", "time": now.Add(-d).Format(time.RFC3339Nano)}))
			b.WriteByte('\n')
		}
		return b.Bytes()
	}
	containerFile(t, root, "a", nil)
	containerFile(t, root, "b", nil)
	of := func(digit string) string {
		return "/var/lib/docker/containers/" + strings.Repeat(digit, 64) + "/" + strings.Repeat(digit, 64) + "-json.log"
	}
	write(t, root, of("a"), log(90*time.Minute, 30*time.Minute))
	write(t, root, of("a")+".1", log(3*time.Hour, 100*time.Minute))
	write(t, root, of("b"), log(30*time.Hour))
	write(t, root, "/var/log/ecs/ecs-agent.log", []byte("the agent's last words\n"))
	write(t, root, "/var/log/ecs/ecs-agent.log.2026-01-01-00", []byte("long ago\n"))
	old := now.Add(-30 * time.Hour)
	for _, name := range []string{of("b"), "/var/log/ecs/ecs-agent.log", "/var/log/ecs/ecs-agent.log.2026-01-01-00"} {
		if err := os.Chtimes(filepath.Join(root, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	run := func(since time.Duration, container string) (map[string]string, string) {
		o := quick(root)
		o.Since, o.Container = since, container
		var out bytes.Buffer
		r, err := Run(t.Context(), o, &out)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Manifest.Sources {
			if s.Source == "container logs" {
				return unpacked(t, "gzip", out.Bytes()), s.Outcome + " " + s.Why
			}
		}
		t.Fatal("no container logs")
		return nil, ""
	}
	m, _ := run(2*time.Hour, "")
	if got := m["container_logs/ca-aaaaaaaaaaaa.log"]; !strings.Contains(got, "from 1h30m") || !strings.Contains(got, "from 30m") {
		t.Errorf("%q", got)
	}
	if got := m["container_logs/ca-aaaaaaaaaaaa.log.1"]; strings.Contains(got, "from 3h") || !strings.Contains(got, "from 1h40m") {
		t.Errorf("%q", got)
	}
	if m["ecs_agent_logs/ecs-agent.log"] == "" || m["ecs_agent_logs/ecs-agent.log.2026-01-01-00"] != "" {
		t.Errorf("the agent's: %q, an old one: %q", m["ecs_agent_logs/ecs-agent.log"], m["ecs_agent_logs/ecs-agent.log.2026-01-01-00"])
	}
	if _, why := run(24*time.Hour, "cb"); !strings.HasPrefix(why, Absent) || !strings.Contains(why, "--since 0") {
		t.Error(why)
	}
	if m, why := run(0, "cb"); m["container_logs/cb-bbbbbbbbbbbb.log"] == "" || why != "ok " {
		t.Error(why)
	}
}

func TestDemultiplex(t *testing.T) {
	frame := func(stream byte, text string) string {
		head := []byte{stream, 0, 0, 0, 0, 0, 0, 0}
		binary.BigEndian.PutUint32(head[4:], uint32(len(text)))
		return string(head) + text
	}
	const at = "2026-11-21T09:11:33.1Z "
	whole := frame(1, at+"password=hun") + frame(2, at+"other\n") + frame(1, at+"ter2\n") + frame(1, at+"end")
	if got, want := string(demultiplex([]byte(whole))), at+"other\n"+at+"password=hunter2\n"+at+"end\n"; got != want {
		t.Errorf("%q", got)
	}
	if got, want := string(demultiplex([]byte(whole[:len(whole)-2]))), at+"other\n"+at+"password=hunter2\n"; got != want {
		t.Errorf("cut: %q", got)
	}
	if got := string(demultiplex([]byte("a terminal\n"))); got != "a terminal\n" {
		t.Errorf("%q", got)
	}
}

// Of a text that is cut, because it grows, is too long or comes too slowly, no half line is shown: half a secret does not look like one.
func TestCutLine(t *testing.T) {
	const secret = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
	dir := t.TempDir()
	half := "first\nuse ghp_16C7e42F2"
	rest := secret[len("ghp_16C7e42F2"):] + "\n"
	plain := filepath.Join(dir, "plain.log")
	if err := os.WriteFile(plain, []byte(half), 0o600); err != nil {
		t.Fatal(err)
	}
	packed := filepath.Join(dir, "packed.log.gz")
	if err := os.WriteFile(packed, gzipped(t, []byte(half+rest)), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(path string, limit int64) func(context.Context, int64) (io.ReadCloser, time.Time, string, error) {
		return func(ctx context.Context, _ int64) (io.ReadCloser, time.Time, string, error) {
			f, err := openFile(ctx, path)
			if err == nil && path == plain { // written on between open and read
				w, err := os.OpenFile(plain, os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprint(w, rest)
				w.Close()
			}
			return textOf(f, err, path, limit)
		}
	}
	stuck := errors.New("stuck")
	for name, m := range map[string]*member{
		"grown":  {open: open(plain, 1<<20)},
		"packed": {open: open(packed, int64(len(half)))},
		"stuck": {open: func(context.Context, int64) (io.ReadCloser, time.Time, string, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(half), iotest.ErrReader(stuck))), time.Time{}, "", nil
		}},
	} {
		b := &bundle{left: 1 << 20, redactor: redact.New(redact.Options{Key: []byte("x")}), pace: newPace(time.Now(), 0)}
		h := &hold{}
		_, _, err := b.stream(t.Context(), name, m, h)
		r, rerr := h.reader()
		if rerr != nil {
			t.Fatal(rerr)
		}
		var text bytes.Buffer
		_, _ = text.ReadFrom(r)
		if text.String() != "first\n" || (err == nil) != (name == "grown") {
			t.Errorf("%s: %q, %v", name, text.String(), err)
		}
	}
	for script, want := range map[string]string{"echo first; printf ghp_16C7e42F2; sleep 10": "first\n", "printf ghp_16C7e42F2; sleep 10": ""} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		text, err := command(ctx, 1<<10, false, "sh", "-c", script)
		cancel()
		if !errors.Is(err, errTimedOut) || string(text) != want {
			t.Errorf("%s: %q, %v", script, text, err)
		}
	}
	if text, err := command(t.Context(), 8, false, "sh", "-c", "printf ghp_16C7e42F2"); !errors.Is(err, errPart) || len(text) > 0 {
		t.Errorf("a long line: %q, %v", text, err)
	}
}
