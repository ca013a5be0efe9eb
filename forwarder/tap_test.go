package forwarder

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	fluentlogger "github.com/fluent/fluent-logger-golang/fluent"
	"github.com/tinylib/msgp/msgp"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/listen"
	"github.com/fairlead/fairlead/internal/glob"
)

func openTap(t *testing.T, taps *Taps, tag string) *Tap {
	t.Helper()
	p, err := glob.Compile(tag)
	if err != nil {
		t.Fatal(err)
	}
	tap, err := taps.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	return tap
}

// entry is an entry of a frame, as the builders make it.
func entry(text string) []byte {
	var b fluent.Builder
	b.Reset("x", 0)
	at := len(b.Buf)
	b.Add(1e9, [][]byte{[]byte(text)}, nil, fluent.Extra{})
	return b.Buf[at:]
}

// texts reads Forward messages: tag and log of each.
func texts(t *testing.T, events []byte) (all []string) {
	t.Helper()
	for len(events) > 0 {
		n, b, err := msgp.ReadArrayHeaderBytes(events)
		if err != nil || n != 3 {
			t.Fatalf("%d elements, %v", n, err)
		}
		tag, b, err := msgp.ReadStringBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		if b, err = msgp.Skip(b); err != nil { // the time
			t.Fatal(err)
		}
		log := msgp.Locate("log", b)
		if len(log) == 0 {
			log = msgp.Locate("message", b)
		}
		text, _, err := msgp.ReadStringBytes(log)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tag+" "+text)
		if events, err = msgp.Skip(b); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestTaps(t *testing.T) {
	var taps Taps
	taps.offer("a", entry("before anybody looks"))
	all, some := openTap(t, &taps, "*"), openTap(t, &taps, "docker.w*")
	taps.offer("docker.web", entry("one"))
	taps.offer("app", entry("two"))
	events, dropped, err := all.Next(t.Context(), nil)
	if got := fmt.Sprint(texts(t, events)); got != "[docker.web one app two]" || dropped != 0 || err != nil {
		t.Errorf("all: %s, %d, %v", got, dropped, err)
	}
	events, dropped, err = some.Next(t.Context(), nil)
	if got := fmt.Sprint(texts(t, events)); got != "[docker.web one]" || dropped != 0 || err != nil {
		t.Errorf("some: %s, %d, %v", got, dropped, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := all.Next(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("nothing there and nobody waits: %v", err)
	}
	some.Close()
	some.Close() // once is enough, twice does no harm
	taps.offer("docker.web", entry("three"))
	taps.Close()
	if events, _, err = all.Next(t.Context(), nil); fmt.Sprint(texts(t, events)) != "[docker.web three]" || err != nil {
		t.Errorf("what came before the end is lost: %v", err)
	}
	if _, _, err = all.Next(t.Context(), nil); !errors.Is(err, ErrTapEnded) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := taps.Open(glob.Pattern{}); !errors.Is(err, ErrTapEnded) {
		t.Errorf("opened after the end: %v", err)
	}
	all.Close()
	if taps.watched.Load() {
		t.Error("nobody looks any more, and it still costs")
	}
}

// A viewer that does not keep up loses events, is told how many, and holds no more than its bound; an event over the bound comes alone.
func TestTapDrops(t *testing.T) {
	var taps Taps
	tap := openTap(t, &taps, "*")
	big := entry(strings.Repeat("x", 2*tapBytes))
	taps.offer("a", big)
	taps.offer("a", entry("dropped"))
	events, dropped, err := tap.Next(t.Context(), nil)
	if len(texts(t, events)) != 1 || len(events) < len(big) || dropped != 1 || err != nil {
		t.Errorf("%d bytes, %d dropped, %v, want the one large event", len(events), dropped, err)
	}
	const offered = 20_000
	e := entry(strings.Repeat("y", 1000))
	for range offered {
		taps.offer("a", e)
	}
	events, dropped, err = tap.Next(t.Context(), nil)
	if n := len(texts(t, events)); n+int(dropped) != offered || len(events) > tapBytes || n < 1000 || err != nil {
		t.Errorf("%d shown in %d bytes, %d dropped, of %d, %v", n, len(events), dropped, offered, err)
	}
	told := AppendDropped(nil, dropped, time.Unix(5, 0))
	if n, _, err := msgp.ReadInt64Bytes(msgp.Locate("dropped", told[len("\x93\xac")+len(DroppedTag)+1:])); n != dropped || err != nil {
		t.Errorf("told %d, %v, want %d", n, err, dropped)
	}
	for range maxTaps - 1 {
		openTap(t, &taps, "*")
	}
	if _, err := taps.Open(glob.Pattern{}); !errors.Is(err, ErrTaps) {
		t.Errorf("one more: %v", err)
	}
}

func TestTapCostsNothing(t *testing.T) {
	var taps Taps
	e := entry("x")
	if n := testing.AllocsPerRun(100, func() { taps.offer("docker.web", e) }); n != 0 {
		t.Errorf("%v allocations with nobody looking", n)
	}
}

// Several writers, viewers that come and go: every viewer has the events of each writer in order, and all of them or their number.
func TestTapsAtOnce(t *testing.T) {
	var taps Taps
	const events = 2000
	var viewers, writers sync.WaitGroup
	for range 4 {
		tap := openTap(t, &taps, "w*")
		viewers.Go(func() {
			defer tap.Close()
			last, seen := map[string]int{}, 0
			var buf []byte
			for {
				var dropped int64
				var err error
				if buf, dropped, err = tap.Next(context.Background(), buf); err != nil {
					break
				}
				seen += int(dropped)
				for _, text := range texts(t, buf) {
					var w string
					var n int
					if _, err := fmt.Sscan(text, &w, &n); err != nil || n <= last[w] {
						t.Errorf("%q after %d: %v", text, last[w], err)
					}
					last[w] = n
					seen++
				}
			}
			if seen != 2*events {
				t.Errorf("%d events, want %d", seen, 2*events)
			}
		})
	}
	for _, w := range []string{"w1", "w2"} {
		writers.Go(func() {
			for i := range events {
				taps.offer(w, entry(fmt.Sprint(i+1)))
			}
		})
	}
	writers.Wait()
	taps.Close()
	viewers.Wait()
}

// What goes to Fluentd is what is seen: folded events of files and of clients, and records that are whole events.
func TestTapOfForwarder(t *testing.T) {
	l := newLab(t)
	l.cfg.Sources.Listen = listen.Config{TCP: "127.0.0.1:0"}
	id := l.container(1)
	var taps Taps
	l.taps = &taps
	tap := openTap(t, &taps, "*")
	l.start()
	l.append(l.log(id), records(strings.Split(trace, "\n"), "stdout"))
	f := l.client(fluentlogger.Config{})
	l.post(f, time.Now(), docker("c1", "stdout", "a line"))
	l.post(f, time.Now(), map[string]string{"message": "no line"})
	want := map[string]bool{"docker.web-1 " + trace: true, "app a line": true, "app no line": true}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for len(want) > 0 {
		events, dropped, err := tap.Next(ctx, nil)
		if err != nil || dropped != 0 {
			t.Fatalf("%v, %d dropped, still to come: %v", err, dropped, want)
		}
		for _, text := range texts(t, events) {
			if !want[text] {
				t.Errorf("passed: %q", text)
			}
			delete(want, text)
		}
	}
	l.balanced()
}
