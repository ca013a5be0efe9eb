package cleanup

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/cleanup/plan"
)

const vacuumTimeout = 2 * time.Minute

// vacuum has journald remove archived files all of whose entries are older than what is kept. Entries that old were read long ago, if the
// journal is read at all up to date; otherwise nothing is done.
func (c *Cleaner) vacuum(ctx context.Context, item *plan.Item) error {
	if c.host.JournalRead != nil {
		if ok, why := c.host.JournalRead(ctx); !ok {
			return &verdictError{plan.Wait, "the journal is not read up to date: " + why}
		}
	}
	path, err := exec.LookPath("journalctl")
	if err != nil {
		return &verdictError{plan.Keep, "there is no journald here"}
	}
	ctx, cancel := context.WithTimeout(ctx, vacuumTimeout)
	defer cancel()
	item.Reason = fmt.Sprintf("archived journal files older than %s", c.cfg.Pressure.KeepJournal)
	args := []string{"--quiet", fmt.Sprintf("--vacuum-time=%ds", int64(c.cfg.Pressure.KeepJournal.Seconds()))}
	if c.host.Journal != "" {
		args = append(args, "--directory="+c.host.Journal)
	}
	return c.trimmed(ctx, item, func() (gone int64, err error) {
		before := archived(c.host.Journal)
		out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
		after := archived(c.host.Journal)
		for name, bytes := range before {
			if _, there := after[name]; !there {
				gone += bytes
			}
		}
		if err != nil {
			return gone, fmt.Errorf("journalctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
		}
		return gone, nil
	})
}

// archived are the journal files that are written no more, with what each takes on disk.
func archived(dir string) map[string]int64 {
	found := map[string]int64{}
	for _, pattern := range []string{"*@*.journal*", "*/*@*.journal*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return found // a folder with brackets
		}
		for _, name := range names {
			var st unix.Stat_t
			if unix.Lstat(name, &st) == nil {
				found[name] = st.Blocks * 512
			}
		}
	}
	return found
}
