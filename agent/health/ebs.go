package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	ebsExceeded = counter("fairlead_ebs_exceeded_seconds_total",
		"Time in which more was asked of an EBS volume than it (scope volume) or the instance (scope instance) may do, as the volume's NVMe statistics say.",
		"device", "scope", "limit")
	ebsQueue = gauge("fairlead_ebs_queue_operations", "Reads and writes that wait for an EBS volume, as its NVMe statistics say.", "device")
)

// The log page by which a volume on Nitro tells its statistics, as amazon-ec2-utils and nvme-cli read it. Little endian:
//
//	offset  size  field
//	0       4     magic
//	8       8     reads, 16: writes, 24: bytes read, 32: bytes written, 40: µs of reads, 48: µs of writes
//	56      8     µs in which the volume's IOPS were exceeded
//	64      8     µs in which the volume's throughput was exceeded
//	72      8     µs in which the instance's IOPS were exceeded
//	80      8     µs in which the instance's throughput was exceeded
//	88      8     queue length
const (
	ebsLogPage  = 0xd0
	ebsLogBytes = 4096
	ebsMagic    = 0x3c23b510
	ebsModel    = "Amazon Elastic Block Store"
)

// ebsStatistics are those of one volume, in seconds where not said otherwise.
type ebsStatistics struct {
	volumeIOPS, volumeThroughput, instanceIOPS, instanceThroughput float64
	queue                                                          float64 // operations
}

var errNoStatistics = errors.New("the volume has no NVMe statistics")

func parseEBS(page []byte) (ebsStatistics, error) {
	if len(page) < 96 || binary.LittleEndian.Uint32(page) != ebsMagic {
		return ebsStatistics{}, errNoStatistics
	}
	seconds := func(at int) float64 { return float64(binary.LittleEndian.Uint64(page[at:])) / 1e6 }
	return ebsStatistics{seconds(56), seconds(64), seconds(72), seconds(80), float64(binary.LittleEndian.Uint64(page[88:]))}, nil
}

// ebs reads the statistics of every EBS volume that has them. Elsewhere node_disk_* tell: time by operations is the await, and the
// weighted time's rate the queue.
func (h *Host) ebs(_ context.Context, s *sink) error {
	models, err := filepath.Glob(h.path("sys/block/nvme*/device/model"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range models {
		model, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(model)) != ebsModel {
			continue
		}
		device := filepath.Base(filepath.Dir(filepath.Dir(path)))
		page, err := readLogPage(h.path("dev/"+device), ebsLogPage, ebsLogBytes)
		if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTTY) {
			continue // not root, or a container: no fault of the volume
		}
		var st ebsStatistics
		if err == nil {
			st, err = parseEBS(page)
		}
		if errors.Is(err, errNoStatistics) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("statistics of %s: %w", device, err))
			continue
		}
		s.add(ebsExceeded, st.volumeIOPS, device, "volume", "iops")
		s.add(ebsExceeded, st.volumeThroughput, device, "volume", "throughput")
		s.add(ebsExceeded, st.instanceIOPS, device, "instance", "iops")
		s.add(ebsExceeded, st.instanceThroughput, device, "instance", "throughput")
		s.add(ebsQueue, st.queue, device)
	}
	return errors.Join(errs...)
}

// nvmeCommand is struct nvme_admin_cmd of linux/nvme_ioctl.h.
type nvmeCommand struct {
	opcode, flags             uint8
	_                         uint16
	namespace                 uint32
	cdw2, cdw3                uint32
	metadata, address         uint64
	metadataBytes, dataBytes  uint32
	cdw10, cdw11              uint32
	cdw12, cdw13, cdw14, cd15 uint32
	timeoutMS, result         uint32
}

const (
	nvmeAdmin      = 0xc0484e41 // NVME_IOCTL_ADMIN_CMD
	nvmeGetLogPage = 0x02
)

// readLogPage asks an NVMe controller for a log page. It changes nothing.
func readLogPage(device string, id uint32, size int) ([]byte, error) {
	f, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	page := make([]byte, size)
	var pin runtime.Pinner
	pin.Pin(&page[0])
	defer pin.Unpin()
	c := nvmeCommand{
		opcode: nvmeGetLogPage, namespace: 1, address: uint64(uintptr(unsafe.Pointer(&page[0]))), dataBytes: uint32(size),
		cdw10: id | uint32(size/4-1)<<16, timeoutMS: 300,
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), nvmeAdmin, uintptr(unsafe.Pointer(&c))); errno != 0 {
		return nil, errno
	}
	return page, nil
}
