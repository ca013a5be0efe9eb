package health

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"
)

var (
	creditUse = gauge("fairlead_host_cpu_credit_use_ratio",
		"Processor credits spent for each one earned over the last minutes; above 1 the balance falls. Only of burstable instances (T2, T3, T3a, T4g).")
	creditLeft = gauge("fairlead_host_cpu_credits",
		"Processor credits left at least, reckoned from what was earned and spent since the boot. Only of burstable instances.")
	creditSeconds = gauge("fairlead_host_cpu_credits_seconds_until_empty",
		"When the reckoned credits are spent at the present rate; +Inf while they do not fall. Only of burstable instances.")
)

// earned are the credits that an instance earns in an hour, by its size; a credit is a minute of one processor. The balance holds what
// is earned in 24 hours. From the table of burstable performance instances in the EC2 user guide.
var earned = map[string]map[string]float64{
	"t2": {"nano": 3, "micro": 6, "small": 12, "medium": 24, "large": 36, "xlarge": 54, "2xlarge": 81.6},
	"t3": {"nano": 6, "micro": 12, "small": 24, "medium": 24, "large": 36, "xlarge": 96, "2xlarge": 192},
}

// creditWindow is over how long the rate is taken.
const creditWindow = 5 * time.Minute

// credits reckons the balance of a burstable instance. CloudWatch knows it, the host is not told; but what an instance earns follows
// from its type, and what it spends stands in /proc/stat. The launch credits of T2 are left out, so the truth is not below it.
type credits struct {
	mu      sync.Mutex // guards what follows
	perHour float64    // 0: no burstable instance, or not known yet
	left    float64
	at      time.Time // of left
	spent   float64   // processor minutes since the boot, at that time
	from    time.Time // the window's begin
	fromUse float64   // spent at that time
	rate    float64   // credits an hour, over the last full window
}

// SetInstanceType tells which type the instance has, as "t3.medium".
func (h *Host) SetInstanceType(name string) {
	family, size, _ := strings.Cut(name, ".")
	if family == "t3a" || family == "t4g" {
		family = "t3" // they earn as t3 does
	}
	h.credits.mu.Lock()
	defer h.credits.mu.Unlock()
	h.credits.perHour = earned[family][size]
}

// reckon goes on to now. boot is when the machine booted, spent the processor minutes used since.
func (c *credits) reckon(now, boot time.Time, spent float64) {
	most := 24 * c.perHour
	if c.at.IsZero() {
		// Nothing is known of the time before us, but the sums: as if it had been spent evenly.
		c.left = min(most, max(0, now.Sub(boot).Hours()*c.perHour-spent))
		c.at, c.spent, c.from, c.fromUse = now, spent, now, spent
		if hours := now.Sub(boot).Hours(); hours > 0 {
			c.rate = spent / hours
		}
		return
	}
	used := spent - c.spent
	c.left = min(most, max(0, c.left+now.Sub(c.at).Hours()*c.perHour-used))
	c.at, c.spent = now, spent
	if past := now.Sub(c.from); past >= creditWindow {
		c.rate = (spent - c.fromUse) / past.Hours()
		c.from, c.fromUse = now, spent
	}
}

func (h *Host) creditsLeft(_ context.Context, s *sink) error {
	c := &h.credits
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perHour == 0 {
		return nil
	}
	t, _, err := h.processors()
	if err != nil {
		return err
	}
	boot, err := h.booted()
	if err != nil {
		return err
	}
	c.reckon(h.kernel.now(), boot, (t.total()-t[modeIdle]-t[modeIowait]-t[modeSteal])/60)
	s.add(creditUse, c.rate/c.perHour)
	s.add(creditLeft, c.left)
	s.add(creditSeconds, c.untilEmpty())
	return nil
}

// untilEmpty is in seconds.
func (c *credits) untilEmpty() float64 {
	if c.rate <= c.perHour {
		return math.Inf(1)
	}
	return c.left / (c.rate - c.perHour) * 3600
}
