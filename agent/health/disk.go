package health

import (
	"context"
	"regexp"
)

var (
	diskReads       = counter("node_disk_reads_completed_total", "The total number of reads completed successfully.", "device")
	diskReadsMerged = counter("node_disk_reads_merged_total", "The total number of reads merged.", "device")
	diskReadBytes   = counter("node_disk_read_bytes_total", "The total number of bytes read successfully.", "device")
	diskReadTime    = counter("node_disk_read_time_seconds_total", "The total number of seconds spent by all reads.", "device")
	diskWrites      = counter("node_disk_writes_completed_total", "The total number of writes completed successfully.", "device")
	diskWriteMerged = counter("node_disk_writes_merged_total", "The number of writes merged.", "device")
	diskWritten     = counter("node_disk_written_bytes_total", "The total number of bytes written successfully.", "device")
	diskWriteTime   = counter("node_disk_write_time_seconds_total", "This is the total number of seconds spent by all writes.", "device")
	diskNow         = gauge("node_disk_io_now", "The number of I/Os currently in progress.", "device")
	diskTime        = counter("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os.", "device")
	diskWeighted    = counter("node_disk_io_time_weighted_seconds_total", "The weighted # of seconds spent doing I/Os.", "device")
)

// otherDisks are partitions and what has no disk, as node_exporter leaves them out.
var otherDisks = regexp.MustCompile(`^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`)

// sectorBytes is the unit of /proc/diskstats, whatever the disk's own sectors are.
const sectorBytes = 512

func (h *Host) disks(_ context.Context, s *sink) error {
	return h.lines("proc/diskstats", func(w [][]byte) {
		if len(w) < 14 || otherDisks.Match(w[2]) {
			return
		}
		name := string(w[2])
		column := func(i int) float64 { return number(w[i]) }
		s.add(diskReads, column(3), name)
		s.add(diskReadsMerged, column(4), name)
		s.add(diskReadBytes, column(5)*sectorBytes, name)
		s.add(diskReadTime, column(6)/1000, name)
		s.add(diskWrites, column(7), name)
		s.add(diskWriteMerged, column(8), name)
		s.add(diskWritten, column(9)*sectorBytes, name)
		s.add(diskWriteTime, column(10)/1000, name)
		s.add(diskNow, column(11), name)
		s.add(diskTime, column(12)/1000, name)
		s.add(diskWeighted, column(13)/1000, name)
	})
}
