package agent

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells systemd what the daemon does. Without systemd (no NOTIFY_SOCKET) it does nothing.
type notifier struct {
	log      *slog.Logger
	watchdog time.Duration // how often systemd wants a sign of life; 0: it does not
}

func newNotifier(log *slog.Logger) *notifier {
	n := &notifier{log: log}
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("watchdog setting not understood, none is kept", "err", err)
	}
	n.watchdog = every / 2
	return n
}

func (n *notifier) ready(status string) { n.send(daemon.SdNotifyReady + "\nSTATUS=" + status) }

func (n *notifier) alive(status string) { n.send(daemon.SdNotifyWatchdog + "\nSTATUS=" + status) }

// stopping asks for the time that the stop may take, beyond what the unit allows.
func (n *notifier) stopping(grace time.Duration) {
	n.send(fmt.Sprintf("%s\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=%d", daemon.SdNotifyStopping, (grace + stopLimit).Microseconds()))
}

// reloading must carry the time for units of Type=notify-reload; ready ends it.
func (n *notifier) reloading() {
	n.send(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

func (n *notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("systemd not told", "state", state, "err", err)
	}
}
