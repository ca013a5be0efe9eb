package agent

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/fairlead/fairlead/collector"
)

// Where no bundle comes to its end, as when its upload is refused each time, old ones go all the same.
func TestBundlesPruned(t *testing.T) {
	c := collector.DefaultConfig()
	c.Dir = t.TempDir()
	for i := range 5 {
		if err := os.WriteFile(filepath.Join(c.Dir, fmt.Sprintf("collect-2026110%dT000000Z.tgz", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := newBundles(Source{Path: "/none.yaml", Environ: os.Environ()}, slog.New(slog.DiscardHandler))
	b.program = "/bin/false"
	if _, err := b.make(t.Context(), c); err == nil {
		t.Error("a bundle was made")
	}
	list := bundlesIn(c.Dir)
	if len(list) != c.Keep || filepath.Base(list[0]) != "collect-20261102T000000Z.tgz" {
		t.Errorf("%v", list)
	}
}
