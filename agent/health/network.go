package health

import (
	"bytes"
	"context"
	"strings"
)

// netFields are the columns of /proc/net/dev that are exported.
var netFields = []struct {
	column int
	metric *metric
}{
	{0, counter("node_network_receive_bytes_total", "Network device statistic receive_bytes.", "device")},
	{1, counter("node_network_receive_packets_total", "Network device statistic receive_packets.", "device")},
	{2, counter("node_network_receive_errs_total", "Network device statistic receive_errs.", "device")},
	{3, counter("node_network_receive_drop_total", "Network device statistic receive_drop.", "device")},
	{8, counter("node_network_transmit_bytes_total", "Network device statistic transmit_bytes.", "device")},
	{9, counter("node_network_transmit_packets_total", "Network device statistic transmit_packets.", "device")},
	{10, counter("node_network_transmit_errs_total", "Network device statistic transmit_errs.", "device")},
	{11, counter("node_network_transmit_drop_total", "Network device statistic transmit_drop.", "device")},
}

// eachDevice hands the devices of a file in the form of /proc/net/dev to each, with their columns.
func eachDevice(text []byte, each func(device string, columns [][]byte)) {
	eachLine(text, func(w [][]byte) {
		// A long number touches the colon: "eth0:1234567".
		name, rest, ok := bytes.Cut(w[0], []byte(":"))
		if !ok {
			return // the heading
		}
		columns := w[1:]
		if len(rest) > 0 {
			columns = append([][]byte{rest}, columns...)
		}
		if len(columns) >= 12 {
			each(string(name), columns)
		}
	})
}

// network leaves out the ends of the pairs that lead into containers: they come and go, and their names say nothing. What goes through
// them is told by container.
func (h *Host) network(_ context.Context, s *sink) error {
	text, err := h.read("proc/net/dev")
	if err != nil {
		return err
	}
	eachDevice(text, func(device string, columns [][]byte) {
		if strings.HasPrefix(device, "veth") {
			return
		}
		for _, f := range netFields {
			s.add(f.metric, number(columns[f.column]), device)
		}
	})
	return nil
}
