package health

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

var (
	wallClock    = gauge("node_time_seconds", "System time in seconds since epoch (1970).")
	timexOffset  = gauge("node_timex_offset_seconds", "Time offset in between local system and reference clock.")
	timexSync    = gauge("node_timex_sync_status", "Is clock synchronized to a reliable server (1 = yes, 0 = no).")
	timexMaximum = gauge("node_timex_maxerror_seconds", "Maximum error in seconds.")
	timexError   = gauge("node_timex_estimated_error_seconds", "Estimated error in seconds.")
)

// clockState is what the kernel knows of its clock.
type clockState struct {
	synced           bool
	offset           time.Duration // to the reference, as the daemon that keeps the time told the kernel last
	maximum, guessed time.Duration
}

func (h *Host) clockState() (clockState, error) {
	var t unix.Timex
	state, err := h.kernel.adjtimex(&t)
	if err != nil {
		return clockState{}, fmt.Errorf("adjtimex: %w", err)
	}
	unit := time.Microsecond
	if t.Status&unix.STA_NANO != 0 {
		unit = time.Nanosecond
	}
	return clockState{
		synced: state != unix.TIME_ERROR, offset: time.Duration(t.Offset) * unit,
		maximum: time.Duration(t.Maxerror) * time.Microsecond, guessed: time.Duration(t.Esterror) * time.Microsecond,
	}, nil
}

func (h *Host) clock(_ context.Context, s *sink) error {
	s.add(wallClock, float64(h.kernel.now().UnixNano())/1e9)
	c, err := h.clockState()
	if err != nil {
		return err
	}
	s.flag(timexSync, c.synced)
	s.add(timexOffset, c.offset.Seconds())
	s.add(timexMaximum, c.maximum.Seconds())
	s.add(timexError, c.guessed.Seconds())
	return nil
}
