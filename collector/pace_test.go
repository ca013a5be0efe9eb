package collector

import (
	"context"
	"testing"
	"time"
)

// Work is spread so that it takes its share of the time, and no more once half of the deadline is over.
func TestPace(t *testing.T) {
	burn := func(d time.Duration) {
		for from := used(); used()-from < d; {
		}
	}
	p := newPace(time.Now(), time.Minute)
	burn(30 * time.Millisecond)
	p.wait(t.Context())
	if took, least := time.Since(p.began), time.Duration(float64(30*time.Millisecond)/share); took < least {
		t.Errorf("waited until %v, want %v", took, least)
	}
	const much = 10 * time.Second // of processor time, for which it would wait some minutes
	p = newPace(time.Now(), 200*time.Millisecond)
	p.base -= much
	p.wait(t.Context())
	if took := time.Since(p.began); took > time.Minute {
		t.Errorf("waited for %v beside a deadline", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p = newPace(time.Now(), time.Hour)
	p.base -= much
	p.wait(ctx)
	if took := time.Since(p.began); took > time.Minute {
		t.Errorf("waited for %v though it is over", took)
	}
}
