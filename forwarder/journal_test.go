package forwarder

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func newJournalHost(t *testing.T) (*host, *journald) {
	j := newJournald(t)
	h := newHost(t)
	h.cfg.Sources.Journal = Journal{Units: []string{"docker", "containerd", "ecs"}, Directory: j.dir}
	h.cfg.Forward.Grace = 2 * time.Second
	h.journald = j
	return h, j
}

// texts are the `log` of the events of a tag.
func (h *host) texts(tag string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var texts []string
	for _, e := range h.events {
		if words := strings.SplitN(e, " ", 5); words[1] == tag {
			text, _, _ := strings.Cut(words[4], " | ")
			texts = append(texts, text)
		}
	}
	return texts
}

func (h *host) awaitLast(text string) {
	h.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		h.mu.Lock()
		for _, e := range h.events {
			if strings.Contains(e, text) {
				h.mu.Unlock()
				return
			}
		}
		events := strings.Join(h.events, "\n")
		h.mu.Unlock()
		if time.Now().After(deadline) {
			if h.journald != nil {
				h.journald.judge()
			}
			h.t.Fatalf("no %q, but status %+v and\n%s", text, h.f.Status().Journal, events)
		}
	}
}

// journald drops empty lines.
const goroutines = "SIGQUIT: quit\nPC=0x1 m=0 sigcode=0\ngoroutine 1 [running]:\nmain.main()\n\t/x/main.go:1 +0x1"

func TestJournal(t *testing.T) {
	h, j := newJournalHost(t)
	dockerd := j.service("docker.service", "dockerd")
	dockerd.write(`time="2026-05-01T10:00:02.5Z" level=warning msg="before the start" error="in use"`)
	j.has("before the start")
	h.start()
	j.service("containerd.service", "containerd").write(`time="2026-05-01T10:00:03Z" level=info msg="of containerd"`)
	j.service("other.service", "other").write("of another")
	j.service("ecs.service", "amazon-ecs-init").write("panic: of ecs-init")
	dockerd.write(strings.Split(goroutines, "\n")...)
	j.send("MESSAGE=Suppressed 1234 messages from docker.service", "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e", "SYSLOG_IDENTIFIER=systemd-journald")
	j.send("MESSAGE=Suppressed 7 messages from other.service", "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e")
	j.send("MESSAGE=by\x00nary\xff", "OBJECT_SYSTEMD_UNIT=docker.service", "PRIORITY=3", "SYSLOG_IDENTIFIER=dockerd")
	j.send("MESSAGE=the end", "OBJECT_SYSTEMD_UNIT=docker.service", "SYSLOG_IDENTIFIER=end")
	h.awaitLast("the end")
	h.awaitLast("goroutine 1")
	h.awaitLast("of ecs-init")
	got := h.await(7)
	for i, e := range got { // the times of entries that have none of their own
		if strings.Contains(e, "message=") {
			continue
		}
		_, rest, _ := strings.Cut(e, " ")
		got[i] = "- " + rest
	}
	h.events = got
	h.expect(
		`10:00:02.5 host.docker docker warn time="2026-05-01T10:00:02.5Z" level=warning msg="before the start" error="in use" | message=before the start | error=in use | ident=dockerd | systemd_unit=docker.service`,
		`10:00:03 host.containerd containerd info time="2026-05-01T10:00:03Z" level=info msg="of containerd" | message=of containerd | ident=containerd | systemd_unit=containerd.service`,
		`- host.ecs-init ecs-init  panic: of ecs-init | ident=amazon-ecs-init | systemd_unit=ecs.service`,
		`- host.docker docker  `+goroutines+` | ident=dockerd | systemd_unit=docker.service`,
		`- host.docker docker  Suppressed 1234 messages from docker.service | ident=systemd-journald | systemd_unit=docker.service`,
		"- host.docker docker error by\x00nary\ufffd | ident=dockerd | systemd_unit=docker.service",
		`- host.docker docker  the end | ident=end | systemd_unit=docker.service`,
	)
	st := h.f.Status()
	if st.Journal.State != "reading" || st.Ledger.Imbalance != 0 {
		t.Errorf("status %+v, books %+v", st.Journal, st.Ledger)
	}
	if !strings.Contains(fmt.Sprint(st.Host), "{docker journal docker.service}") {
		t.Errorf("the choice is not shown: %v", st.Host)
	}
	if len(j.children()) != 1 {
		t.Errorf("children: %v, want one", j.children())
	}
	h.stop()
	if len(j.children()) != 0 {
		t.Errorf("a stopped forwarder left children: %v", j.children())
	}
}

// Whatever stops, is killed or rotates in between, each line of the journal comes once, and in order.
func TestJournalOnce(t *testing.T) {
	h, j := newJournalHost(t)
	dockerd := j.service("docker.service", "dockerd")
	n := 0
	write := func(count int) string {
		last := ""
		for range count {
			n++
			last = fmt.Sprintf("line number %05d.", n)
			dockerd.write(last)
		}
		j.has(last)
		return last
	}
	write(50)
	h.start()
	h.awaitLast(write(50))
	h.stop() // in order
	last := write(50)
	j.rotate()
	h.start()
	h.awaitLast(last)
	for range 3 { // its child is killed
		for _, pid := range j.children() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		last = write(50)
		h.awaitLast(last)
	}
	j.rotate()
	h.awaitLast(write(300))
	h.stop()
	h.start()
	h.awaitLast(write(1))
	h.stop()
	got := h.texts("host.docker")
	if len(got) != n {
		j.judge()
	}
	for i, text := range got {
		if want := fmt.Sprintf("line number %05d.", i+1); text != want {
			t.Fatalf("event %d is %q, want %q; %d events of %d", i, text, want, len(got), n)
		}
	}
	if len(got) != n {
		t.Errorf("%d events, want %d", len(got), n)
	}
}

// A stop, or a kill, while a dump is being folded and other processes write on: it comes whole, and nothing twice.
func TestJournalStopInATrace(t *testing.T) {
	h, j := newJournalHost(t)
	h.cfg.Fold.Wait = time.Minute
	h.start()
	dockerd, containerd := j.service("docker.service", "dockerd"), j.service("containerd.service", "containerd")
	lines := strings.Split(goroutines, "\n")
	dockerd.write("first")
	h.awaitLast("first")
	dockerd.write(lines...)
	j.has(lines[4])
	for i := range 10 {
		containerd.write(fmt.Sprintf("other %d", i))
	}
	h.awaitLast("other 9")
	h.stop()
	if got := h.texts("host.docker"); len(got) != 1 {
		t.Fatalf("the dump did not pend: %q", got)
	}
	dockerd.write(`time="2026-05-01T10:00:02.5Z" level=info msg="next"`)
	containerd.write("last")
	j.has("last")
	h.start()
	h.awaitLast("next")
	h.awaitLast("last")
	if got := h.texts("host.docker"); len(got) != 3 || got[1] != goroutines {
		t.Errorf("got %q", got)
	}
	if got := h.texts("host.containerd"); len(got) != 11 || got[10] != "last" {
		t.Errorf("got %q", got)
	}
}

// journald deleted what was not read: that is said and counted, and what is there is read.
func TestJournalLostCursor(t *testing.T) {
	h, j := newJournalHost(t)
	dockerd := j.service("docker.service", "dockerd")
	h.start()
	dockerd.write("read")
	h.awaitLast("read")
	h.stop()
	dockerd.write("never read")
	j.has("never read")
	j.rotate()
	dockerd.write("after")
	j.has("after")
	j.vacuum()
	h.start()
	h.awaitLast("after")
	dockerd.write("later")
	h.awaitLast("later")
	if got := fmt.Sprint(h.texts("host.docker")); got != "[read after later]" {
		t.Errorf("got %s", got)
	}
	if got := value(t, h.f.metrics.journalLost); got != 1 {
		t.Errorf("lost cursors: %v, want 1", got)
	}
	h.stop()
	h.start() // a place that is there is not lost
	dockerd.write("again")
	h.awaitLast("again")
	if got := value(t, h.f.metrics.journalLost); got != 0 {
		t.Errorf("lost cursors: %v, want 0", got)
	}
}

// What a file has is taken from there, what the journal has is not taken from messages, and nothing that is in one only is left out.
func TestEachEventOnce(t *testing.T) {
	h, j := newJournalHost(t)
	now := time.Now().UTC()
	stamp, syslog := now.Format(time.RFC3339), now.Local().Format("Jan _2 15:04:05")
	ecsInit := j.service("ecs.service", "amazon-ecs-init")
	line := "level=info time=" + stamp + ` msg="pre-start"`
	h.write("var/log/ecs/ecs-init.log", line)
	ecsInit.write(line, "panic: only here")
	docker := `time="` + stamp + `" level=info msg="API listen"`
	j.service("docker.service", "dockerd").write(docker)
	j.send("MESSAGE=Started Docker.", "OBJECT_SYSTEMD_UNIT=docker.service", "SYSLOG_IDENTIFIER=systemd")
	h.write("var/log/messages", syslog+" h dockerd[1]: "+docker, syslog+" h amazon-ecs-init: "+line, syslog+" h systemd: Started Docker.",
		"Jan  2 10:00:00 h dockerd: before the boot", syslog+" h sshd: hello")
	j.has("Started Docker.")
	h.start()
	h.awaitLast("only here")
	h.awaitLast("API listen")
	h.awaitLast("hello")
	for _, c := range []struct {
		tag  string
		want []string
	}{
		{"host.ecs-init", []string{line, "panic: only here"}},
		{"host.docker", []string{docker}},
		{"host.messages", []string{syslog + " h systemd: Started Docker.", "Jan  2 10:00:00 h dockerd: before the boot", syslog + " h sshd: hello"}},
	} {
		if got := h.texts(c.tag); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
			t.Errorf("%s: got %q, want %q", c.tag, got, c.want)
		}
	}
	h.stop()
	old := now.Add(-time.Hour) // the file is not written any more: the agent logs elsewhere
	if err := os.Chtimes(filepath.Join(h.root, "var/log/ecs/ecs-init.log"), old, old); err != nil {
		t.Fatal(err)
	}
	ecsInit.write("level=info time=" + stamp + ` msg="to the journal alone"`)
	h.start()
	h.awaitLast("to the journal alone")
}

// Without a journal, what would be in it is taken from messages.
func TestNoJournal(t *testing.T) {
	h := newHost(t)
	h.cfg.Sources.Journal = Journal{Units: []string{"docker"}, Directory: filepath.Join(h.dir, "journal")}
	syslog := time.Now().Format("Jan _2 15:04:05")
	h.write("var/log/messages", syslog+" h dockerd: hello")
	h.start()
	h.awaitLast("hello")
	if got := h.f.Status().Journal.State; got != "waiting: no journal" {
		t.Errorf("state %q", got)
	}
}

// journald tells of an entry a while after it is there: settling waits for that.
func TestSettleJournal(t *testing.T) {
	h, j := newJournalHost(t)
	dockerd := j.service("docker.service", "dockerd")
	h.start()
	dockerd.write("the first")
	h.awaitLast("the first")
	for i := range 8 {
		line := fmt.Sprintf("line %d.", i)
		dockerd.write(line)
		j.has(line)
		if err := h.f.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if texts := h.texts("host.docker"); len(texts) == 0 || texts[len(texts)-1] != line {
			t.Errorf("settled without %q, the last are %q", line, texts[max(0, len(texts)-2):])
		}
	}
}
