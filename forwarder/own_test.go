package forwarder

import (
	"errors"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
)

func TestSay(t *testing.T) {
	l := newLab(t)
	told := make(chan *receiver.Event, 1)
	l.each = func(e *receiver.Event) {
		if e.Tag == "fairlead.cleanup" {
			told <- e
		}
	}
	l.start()
	l.f.SetInstance("i-1")
	at := time.Unix(1_700_000_000, 5)
	if err := l.f.Say(t.Context(), "fairlead.cleanup", at, map[string]any{"log": "removed volume x", "bytes": int64(7), "ids": []any{"a"}}); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-told:
		if string(e.Field("log")) != "removed volume x" || string(e.Field("ec2_instance_id")) != "i-1" || e.Time != at.UnixNano() {
			t.Errorf("arrived as %q of %q at %d", e.Field("log"), e.Field("ec2_instance_id"), e.Time)
		}
	case <-time.After(time.Minute):
		t.Fatal("it did not arrive")
	}
	l.balanced()
	if err := l.f.Say(t.Context(), "x", at, map[string]any{"log": make(chan int)}); err == nil {
		t.Error("a channel was taken for a value")
	}
	l.stop()
	if err := l.f.Say(t.Context(), "x", at, map[string]any{"log": "late"}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the stop: %v", err)
	}
}

func TestDelivered(t *testing.T) {
	l := newLab(t)
	id := l.container(1)
	l.start()
	if _, err := l.f.Delivered(id[:12]); !errors.Is(err, ErrUnknown) {
		t.Errorf("of a container that is not there: %v", err)
	}
	l.recv.Kill()
	l.append(l.log(id), records(numbered(0, 10), "stdout"))
	until(t, "all is read", func() bool { return l.f.Status().Ledger.Read == 10 })
	if done, err := l.f.Delivered(id); done || err != nil {
		t.Errorf("delivered before an ack: %v, %v", done, err)
	}
	if err := l.recv.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "all is delivered", func() bool { done, err := l.f.Delivered(id); return done && err == nil })
}
