package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/fairlead/fairlead/forwarder"
)

// watcher is a tap at work.
type watcher struct {
	seen  chan Tapped
	ended chan error
	stop  context.CancelFunc
}

func watch(t *testing.T, d *process, tag string) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{seen: make(chan Tapped, 100), ended: make(chan error, 1), stop: cancel}
	began := make(chan struct{})
	go func() {
		w.ended <- Client{Socket: d.dir + "/s"}.Tap(ctx, tag, func() { close(began) }, func(e Tapped) error {
			e.record = append(msgp.Raw(nil), e.record...)
			w.seen <- e
			return nil
		})
	}()
	select {
	case <-began:
	case err := <-w.ended:
		t.Fatal(err)
	}
	return w
}

func (w *watcher) next(t *testing.T) Tapped {
	t.Helper()
	select {
	case e := <-w.seen:
		return e
	case <-time.After(time.Minute):
		t.Fatal("nothing passed")
		return Tapped{}
	}
}

func (w *watcher) end(t *testing.T) {
	t.Helper()
	select {
	case err := <-w.ended:
		if err != nil {
			t.Errorf("the tap ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the tap does not end")
	}
}

func say(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// Several look at once; a reload does not end it, Ctrl-C and the end of the daemon do, in order.
func TestTap(t *testing.T) {
	dir := t.TempDir()
	config := func(grace string) string {
		return fmt.Sprintf("forward: {to: [\"127.0.0.1:1\"], grace: %s}\nsources: {containers: {enabled: false}, files: [{path: %s/a.log, tag: app.a}, {path: %s/b.log, tag: app.b}]}\n", grace, dir, dir)
	}
	d := start(t, config("10ms"))
	d.get(t, "/healthz", 200, "true")
	all, some := watch(t, d, ""), watch(t, d, "*.b")
	before := time.Now().Add(-time.Second)
	say(t, filepath.Join(dir, "a.log"), "one <&> \x1b[1m\n")
	e := all.next(t)
	if e.Tag != "app.a" || string(e.Field("log")) != "one <&> \x1b[1m" || string(e.Field("source")) != filepath.Join(dir, "a.log") || e.Field("none") != nil || e.Time.Before(before) {
		t.Errorf("%+v", e)
	}
	text, err := json.Marshal(e)
	var v struct {
		Time   time.Time
		Tag    string
		Record map[string]string
	}
	if err != nil || json.Unmarshal(text, &v) != nil || v.Tag != "app.a" || !v.Time.Equal(e.Time) || v.Record["log"] != "one <&> \x1b[1m" {
		t.Errorf("%s, %v", text, err)
	}
	say(t, filepath.Join(dir, "b.log"), "two\n")
	for _, w := range []*watcher{all, some} {
		if e := w.next(t); e.Tag != "app.b" || string(e.Field("log")) != "two" {
			t.Errorf("%+v", e)
		}
	}
	all.stop()
	all.end(t)

	if err := os.WriteFile(filepath.Join(d.dir, "f.yaml"), []byte(config("20ms")), 0o600); err != nil {
		t.Fatal(err)
	}
	former := hash(d.loadedConfig())
	hup(t)
	for deadline := time.Now().Add(time.Minute); hash(d.loadedConfig()) == former; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not reload")
		}
	}
	say(t, filepath.Join(dir, "b.log"), "three\n")
	if e := some.next(t); string(e.Field("log")) != "three" {
		t.Errorf("after a reload: %+v", e)
	}
	d.stop()
	some.end(t)
}

func (a *Agent) loadedConfig() Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.loaded.Config
}

func TestTapRefused(t *testing.T) {
	d := start(t, "")
	d.get(t, "/healthz", 200, "true")
	client := Client{Socket: d.dir + "/s"}
	for tag, want := range map[string]string{"": "forward.to is not set", "[": "use * for any text"} {
		err := client.Tap(t.Context(), tag, func() { t.Error("it began") }, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", tag, err, want)
		}
	}
	err := Client{Socket: d.dir + "/none"}.Tap(t.Context(), "", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "no daemon runs here") {
		t.Errorf("no daemon: %v", err)
	}
}

func TestReadTapped(t *testing.T) {
	e, err := readTapped(forwarder.AppendDropped(nil, 17, time.Unix(5, 0)))
	if err != nil || e.Dropped != 17 || !e.Time.Equal(time.Unix(5, 0)) || string(e.Record()) != `{"dropped":17}` {
		t.Errorf("%+v, %v", e, err)
	}
	stop := errors.New("enough")
	for _, odd := range []string{"", "\x92\xa1a\x01", "\x93\x01\x01\x80", "\x93\xa1a\xa1b\x80"} {
		if _, err := readTapped([]byte(odd)); err == nil || errors.Is(err, stop) {
			t.Errorf("%q was taken", odd)
		}
	}
	// A record that has no form in JSON is shown as it is.
	e, err = readTapped([]byte("\x93\xa1a\x01\x81\xa1x\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01"))
	if err != nil || string(e.Record()) != `{"msgpack":"gaF4y3/4AAAAAAAB"}` {
		t.Errorf("%s, %v", e.Record(), err)
	}
}

// FuzzTapped writes an event and reads what it was.
func FuzzTapped(f *testing.F) {
	f.Add("docker.web", "log", "text", []byte("\x93\xa1a\x01\x80"))
	f.Fuzz(func(t *testing.T, tag, key, value string, odd []byte) {
		if e, err := readTapped(odd); err == nil { // what another program's bytes do
			e.Field(key)
			if !json.Valid(e.Record()) {
				t.Errorf("%q: no JSON: %s", odd, e.Record())
			}
		}
		b := msgp.AppendString([]byte{0x93}, tag)
		b = append(b, 0xd7, 0, 0, 0, 0, 5, 0, 0, 0, 7)
		b = msgp.AppendString(msgp.AppendString(append(b, 0x81), key), value)
		e, err := readTapped(b)
		if err != nil || e.Tag != tag || !e.Time.Equal(time.Unix(5, 7)) || string(e.Field(key)) != value && tag != forwarder.DroppedTag {
			t.Errorf("%q: %+v, %v", b, e, err)
		}
	})
}
