package lab

import "slices"

// Scenarios returns all there are, in the order of the table.
func Scenarios() []*Scenario {
	all := slices.Concat(balancerScenarios, receiverScenarios, networkScenarios, addressScenarios, processScenarios, diskScenarios, mixedScenarios)
	out := make([]*Scenario, len(all))
	for i := range all {
		out[i] = &all[i]
	}
	return out
}
