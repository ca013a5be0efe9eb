package forwarder

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/internal/mutant"
)

// TestHistoriesSeeMutations breaks the program on purpose, one line at a time, and expects the random histories to notice: a test that
// cannot fail proves nothing. It takes minutes, so `make soak` runs it, or FAIRLEAD_MUTATIONS=1.
func TestHistoriesSeeMutations(t *testing.T) {
	if os.Getenv("FAIRLEAD_MUTATIONS") == "" && os.Getenv("FAIRLEAD_SOAK") == "" {
		t.Skip("set FAIRLEAD_MUTATIONS=1: it takes minutes")
	}
	for _, c := range []struct{ name, file, line, mutant, notices string }{
		{"the cursor passes a frame that is not acked", "fluent/flight.go", "if !x.acked {", "if !x.acked && f.len() < 2 {", "not recovered"},
		{"acks are matched by position", "fluent/flight.go", "x := &f.ring[i%uint64(len(f.ring))]; string(x.id[:]) == string(id)", "x := &f.ring[i%uint64(len(f.ring))]; !x.acked", "not recovered"},
		{"what was in flight is not sent again", "fluent/sender.go", "\ts.q.Rewind()\n", "", "not recovered"},
		{"an ack that never comes is not missed", "fluent/acks.go", "due := c.progress + int64(cfg.AckTimeout)", "due := c.progress + int64(cfg.AckTimeout)*1000", "not recovered"},
		{"the writer is not told of room", "fluent/acks.go", "room := c.below >= 0 &&", "room := c.below >= 9999 &&", "the sender stands still: waiting for acks"},
		{"the first frame is skipped when it is sent again", "spool/reader.go", "r.replay, r.rewound = 0, true", "r.replay, r.rewound = min(1, len(r.flight)), true", "not recovered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, noticed := mutant.Test(t, c.file, c.line, c.mutant, []string{"FAIRLEAD_HISTORIES=200", "FAIRLEAD_TEST_SEED=", "FAIRLEAD_SOAK="},
				"-failfast", "-run", "TestRandomHistories", ".")
			if !noticed {
				t.Fatal("not noticed in 200 histories")
			}
			found := regexp.MustCompile(`FAIRLEAD_TEST_SEED=\d+: [^\n]*`).FindString(out)
			if !strings.Contains(found, c.notices) {
				t.Fatalf("noticed by %q, want %q:\n%s", found, c.notices, tailOf(out, 3000))
			}
			t.Log(found)
		})
	}
}
