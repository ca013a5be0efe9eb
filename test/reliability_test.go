package test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/lab"
)

// laboratory is what the tests have built, as the laboratory wants it.
func laboratory() *lab.Env {
	return &lab.Env{Run: bed.run, Dir: bed.dir, Fairlead: bed.fairlead, Engine: bed.engine, Image: bed.image, Logs: bed.logs}
}

func tryScenario(t *testing.T, s *lab.Scenario, seed uint64) *lab.Row {
	t.Helper()
	row := lab.Run(t.Context(), laboratory(), s, seed, t.Logf)
	if row.NotRun != nil {
		t.Skip(row.NotRun)
	}
	t.Log(row)
	return row
}

// TestReliability runs the quickest scenarios of `make reliability`, side by side. What is measured in them is then of no value; what
// is lost is.
func TestReliability(t *testing.T) {
	for _, s := range lab.Scenarios() {
		if !s.Quick {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			if row := tryScenario(t, s, bed.seed); row.Failed() {
				t.Errorf("failed with seed %d", bed.seed)
			}
		})
	}
}

// TestReliabilityNoticesLoss has a receiver lose some of what it acknowledges: a laboratory that does not see that proves nothing.
func TestReliabilityNoticesLoss(t *testing.T) {
	t.Parallel()
	got := tryScenario(t, lab.SelfTest(), bed.seed).Results[lab.Fairlead]
	if want := got.Written / lab.SelfTestLoses; got.Lost < want-1 || got.Lost > want+1 {
		t.Errorf("%d of %d lines are reported as lost, want %d", got.Lost, got.Written, want)
	}
}

// TestReliabilityRandom mixes all faults, with the seed of the run and, in the long version, with those that follow.
func TestReliabilityRandom(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(bed.soak)
	for seed := bed.seed; ; seed++ {
		if row := tryScenario(t, lab.RandomMix(), seed); row.Failed() {
			t.Errorf("failed: go run ./test/reliability -only '^random mix$' -seed %d", seed)
		}
		if time.Now().After(end) {
			return
		}
	}
}
