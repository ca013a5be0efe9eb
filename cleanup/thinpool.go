package cleanup

import (
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// thinPool is the pool in which devicemapper keeps layers and containers, on the AMIs of Amazon Linux 1. df does not see it. Its metadata are
// counted like inodes: either can run out. nil: the engine has none, or does not say.
func thinPool(driver string, status [][2]string) *plan.Disk {
	if driver != "devicemapper" {
		return nil
	}
	figures := map[string]string{}
	for _, kv := range status {
		figures[kv[0]] = kv[1]
	}
	used, ok1 := decimal(figures["Data Space Used"])
	total, ok2 := decimal(figures["Data Space Total"])
	if !ok1 || !ok2 || total <= 0 {
		return nil
	}
	free := total - used
	if available, ok := decimal(figures["Data Space Available"]); ok {
		free = min(free, available)
	}
	// Below this the engine makes no more containers: for us the pool is full there.
	if least, ok := decimal(figures["Thin Pool Minimum Free Space"]); ok {
		free, total = free-least, total-least
	}
	d := &plan.Disk{Mount: "thin pool " + figures["Pool Name"], Roles: []string{plan.RoleThin}, Bytes: total, FreeBytes: max(0, free), UntilFull: plan.Never}
	metaUsed, ok1 := decimal(figures["Metadata Space Used"])
	metaTotal, ok2 := decimal(figures["Metadata Space Total"])
	if ok1 && ok2 {
		d.Inodes, d.FreeInodes = metaTotal, max(0, metaTotal-metaUsed)
	}
	return d
}

// decimal reads a figure of docker info: 23.33GB, 479.7MB, 512 B. Its units are powers of a thousand.
func decimal(text string) (int64, bool) {
	number := strings.TrimSpace(strings.TrimRight(text, "kKMGTPBi "))
	unit := strings.TrimSpace(text[len(number):])
	f, err := strconv.ParseFloat(number, 64)
	factor, ok := map[string]float64{"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}[unit]
	if err != nil || !ok || !(f >= 0 && f*factor < 1<<62) { // nor NaN
		return 0, false
	}
	return int64(f * factor), true
}
