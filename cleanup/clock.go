package cleanup

import (
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/cleanup/plan"
)

var bootID = sync.OnceValue(func() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // no age is counted then, and nothing goes by age
	}
	return strings.TrimSpace(string(text))
})

// now reads both clocks.
func now() plan.Clock {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return plan.Clock{Wall: time.Now()}
	}
	return plan.Clock{Wall: time.Now(), Boot: bootID(), Up: time.Duration(t.Nano())}
}
