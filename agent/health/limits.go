package health

import (
	"context"
	"fmt"
)

var (
	fdAllocated = gauge("node_filefd_allocated", "File descriptor statistics: allocated.")
	fdMaximum   = gauge("node_filefd_maximum", "File descriptor statistics: maximum.")
	tracked     = gauge("node_nf_conntrack_entries", "Number of currently allocated flow entries for connection tracking.")
	trackedMost = gauge("node_nf_conntrack_entries_limit", "Maximum size of connection tracking table.")
)

// limits are what the kernel has a fixed number of: open files, and the connections that Docker's NAT follows.
func (h *Host) limits(_ context.Context, s *sink) error {
	found := false
	err := h.lines("proc/sys/fs/file-nr", func(w [][]byte) {
		if len(w) == 3 {
			s.add(fdAllocated, number(w[0]))
			s.add(fdMaximum, number(w[2]))
			found = true
		}
	})
	if err == nil && !found {
		err = fmt.Errorf("/proc/sys/fs/file-nr has no three numbers")
	}
	if err != nil {
		return err
	}
	for name, m := range map[string]*metric{"count": tracked, "max": trackedMost} {
		v, err := h.value("proc/sys/net/netfilter/nf_conntrack_" + name)
		if unsupported(err) != nil {
			return err
		}
		if err == nil {
			s.add(m, v)
		}
	}
	return nil
}
