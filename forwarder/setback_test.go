package forwarder

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/forwarder/listen"

	"github.com/fairlead/fairlead/forwarder/spool"
)

// TestClockIsSetBack: lines go on at once when the wall clock steps back by an hour.
func TestClockIsSetBack(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cfg := DefaultConfig()
	cfg.Forward.To = []Endpoint{{Address: "127.0.0.1:1"}}
	cfg.Sources.Containers.Enabled = false
	cfg.Sources.Listen = listen.Config{}
	cfg.Sources.Host.Enabled, cfg.Sources.Journal.Units = false, nil
	cfg.Sources.Files = []Files{{Path: path, Tag: "app"}}
	cfg.Spool.Dir, cfg.Spool.MinFree = filepath.Join(dir, "spool"), 0
	log := slog.New(slog.DiscardHandler)
	f, err := New(cfg, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	sp, err := spool.Open(cfg.Spool, log, f.spoolM)
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	disc := newDiscovery(cfg.Sources, log, newTimerAlarm(), f.folding, f.single, nil)
	l := f.newLoop(log, disc, sp, newReleaser(sp))
	disc.look(time.Now())
	turns := func() {
		for range 5 {
			l.turn(time.Now())
			time.Sleep(turnEvery)
		}
	}
	_, _ = fmt.Fprintln(file, "one")
	turns()
	// What is known until now is an hour ahead: the same to the loop as a clock that steps back.
	ahead := int64(time.Hour)
	l.now += ahead
	l.lastRun += ahead
	for _, s := range l.sources {
		s.nextLook += ahead
		s.eofAt += ahead
		s.lastData += ahead
		s.clock += ahead
	}
	_, _ = fmt.Fprintln(file, "two")
	turns()
	if got := sp.Stats().PendingEvents; got != 2 {
		t.Errorf("%d events in the spool, want both", got)
	}
	for _, s := range l.sources {
		if s.nextLook > time.Now().Add(time.Second).UnixNano() {
			t.Errorf("%s is looked at in %v", s.name, time.Until(time.Unix(0, s.nextLook)))
		}
	}
}
