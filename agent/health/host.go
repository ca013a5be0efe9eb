package health

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Host is the machine as /proc and /sys show it, and the few calls that they do not answer.
//
// It reads these files itself. gopsutil mixes in system calls that a recorded tree cannot answer, knows neither pressure nor half of
// node_exporter's fields, and reads udev's records for each look at a disk; procfs parses by fmt.Sscanf. What is read here is a
// handful of lines of words.
type Host struct {
	root   string // "/" but in tests
	kernel kernel

	mu    sync.Mutex // guards what follows
	stuck map[string]bool
	idle  map[string][2]float64 // highest idle and iowait of each processor

	credits credits
}

// kernel is what only calls answer.
type kernel struct {
	statfs   func(path string, to *unix.Statfs_t) error
	adjtimex func(to *unix.Timex) (state int, err error)
	uname    func(to *unix.Utsname) error
	now      func() time.Time
}

// NewHost is this machine.
func NewHost() *Host {
	return newHost("/", kernel{unix.Statfs, unix.Adjtimex, unix.Uname, time.Now})
}

func newHost(root string, k kernel) *Host {
	return &Host{root: root, kernel: k, stuck: map[string]bool{}, idle: map[string][2]float64{}}
}

func (h *Host) path(name string) string { return filepath.Join(h.root, name) }

// maxFile bounds what is read of one file; /proc/stat of 192 processors has 100 KiB.
const maxFile = 1 << 20

func (h *Host) read(name string) ([]byte, error) {
	f, err := os.Open(h.path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// lines hands the words of each line of a file to each. The words are valid until each returns.
func (h *Host) lines(name string, each func(words [][]byte)) error {
	text, err := h.read(name)
	if err != nil {
		return err
	}
	eachLine(text, each)
	return nil
}

func eachLine(text []byte, each func(words [][]byte)) {
	var words [][]byte
	for line := range bytes.Lines(text) {
		words = words[:0]
		for word := range bytes.FieldsSeq(line) {
			words = append(words, word)
		}
		if len(words) > 0 {
			each(words)
		}
	}
}

// number reads a decimal number; 0 where there is none, as in a column that this kernel does not have.
func number(word []byte) float64 {
	n, err := strconv.ParseFloat(string(word), 64)
	if err != nil {
		return 0
	}
	return n
}

// value is a file that holds one number.
func (h *Host) value(name string) (float64, error) {
	text, err := h.read(name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(bytes.TrimSpace(text)), 64)
}

// unsupported makes nothing of a file that this kernel does not have, or keeps switched off.
func unsupported(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

// sources are those of the host, for an exporter.
func (h *Host) sources() []*source {
	const within = 500 * time.Millisecond
	return []*source{
		{name: "cpu", within: within, collect: h.cpu},
		{name: "memory", within: within, collect: h.memory},
		{name: "vmstat", within: within, collect: h.vmstat},
		{name: "load", within: within, collect: h.load},
		{name: "pressure", within: within, collect: h.pressure},
		{name: "filesystem", within: within, collect: h.filesystems},
		{name: "disk", within: within, collect: h.disks},
		{name: "ebs", within: within, collect: h.ebs},
		{name: "network", within: within, collect: h.network},
		{name: "clock", within: within, collect: h.clock},
		{name: "limits", within: within, collect: h.limits},
		{name: "system", within: within, collect: h.system},
		{name: "credits", within: within, collect: h.creditsLeft},
	}
}
