package health

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var fsLabels = []string{"device", "mountpoint", "fstype"}

var (
	fsSize     = gauge("node_filesystem_size_bytes", "Filesystem size in bytes.", fsLabels...)
	fsFree     = gauge("node_filesystem_free_bytes", "Filesystem free space in bytes.", fsLabels...)
	fsAvail    = gauge("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.", fsLabels...)
	fsFiles    = gauge("node_filesystem_files", "Filesystem total file nodes.", fsLabels...)
	fsNodes    = gauge("node_filesystem_files_free", "Filesystem total free file nodes.", fsLabels...)
	fsReadOnly = gauge("node_filesystem_readonly", "Filesystem read-only status.", fsLabels...)
	fsError    = gauge("node_filesystem_device_error", "Whether an error occurred while getting statistics for the given device.", fsLabels...)
)

// What node_exporter leaves out as well.
var (
	otherMounts = regexp.MustCompile(`^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)`)
	otherTypes  = regexp.MustCompile(`^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs)$`)
)

// maxMounts bounds how many mounts are looked at.
const maxMounts = 64

// mount is a line of /proc/1/mountinfo that is of interest.
type mount struct {
	device, point, kind string
	readOnly            bool
}

// mounts answers the file systems that hold somebody's data. The host's are those of its first process; ours are the same unless we
// were put into a container.
func (h *Host) mounts() ([]mount, error) {
	var list []mount
	seen := map[mount]bool{}
	each := func(w [][]byte) {
		dash := slices.IndexFunc(w, func(word []byte) bool { return string(word) == "-" })
		if dash < 6 || dash+3 >= len(w) {
			return
		}
		m := mount{device: unescape(w[dash+2]), point: unescape(w[4]), kind: string(w[dash+1])}
		if seen[m] || otherTypes.MatchString(m.kind) || otherMounts.MatchString(m.point) || len(list) == maxMounts {
			return
		}
		seen[m] = true
		m.readOnly = slices.ContainsFunc([][]byte{w[5], w[dash+3]}, func(options []byte) bool {
			first, _, _ := bytes.Cut(options, []byte(","))
			return string(first) == "ro"
		})
		list = append(list, m)
	}
	err := h.lines("proc/1/mountinfo", each)
	if err != nil {
		err = h.lines("proc/self/mountinfo", each)
	}
	return list, err
}

// unescape undoes the octal numbers by which mountinfo writes blanks and backslashes.
func unescape(word []byte) string {
	if !bytes.Contains(word, []byte(`\`)) {
		return string(word)
	}
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		if word[i] == '\\' && i+3 < len(word) {
			if c, err := strconv.ParseUint(string(word[i+1:i+4]), 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(word[i])
	}
	return b.String()
}

// space is what a file system says of itself, in bytes and inodes.
type space struct {
	size, free, avail, files, filesFree float64
}

var errStuck = errors.New("it did not answer in time, and has not since")

// statfsWithin is less than the deadline of a source, so that what did answer can be told.
const statfsWithin = 300 * time.Millisecond

// spaces asks all file systems at a time. One that does not answer, as NFS whose server is gone, has one goroutine that waits for it,
// and is not asked again before that one has come back.
func (h *Host) spaces(ctx context.Context, list []mount) (found []space, errs []error) {
	ctx, cancel := context.WithTimeout(ctx, statfsWithin)
	defer cancel()
	type answer struct {
		space
		err error
	}
	answers := make([]chan answer, len(list))
	for i, m := range list {
		h.mu.Lock()
		stuck := h.stuck[m.point]
		h.stuck[m.point] = true
		h.mu.Unlock()
		if stuck {
			continue
		}
		answers[i] = make(chan answer, 1)
		go func() {
			var st unix.Statfs_t
			err := h.kernel.statfs(h.path(m.point), &st)
			h.mu.Lock()
			delete(h.stuck, m.point)
			h.mu.Unlock()
			unit := float64(st.Bsize)
			answers[i] <- answer{space{float64(st.Blocks) * unit, float64(st.Bfree) * unit, float64(st.Bavail) * unit, float64(st.Files), float64(st.Ffree)}, err}
		}()
	}
	found, errs = make([]space, len(list)), make([]error, len(list))
	for i := range list {
		errs[i] = errStuck
		if answers[i] == nil {
			continue
		}
		select {
		case a := <-answers[i]:
			found[i], errs[i] = a.space, a.err
		case <-ctx.Done():
		}
	}
	return found, errs
}

func (h *Host) filesystems(ctx context.Context, s *sink) error {
	list, err := h.mounts()
	if err != nil {
		return err
	}
	found, errs := h.spaces(ctx, list)
	for i, m := range list {
		labels := []string{m.device, m.point, m.kind}
		s.flag(fsError, errs[i] != nil, labels...)
		s.flag(fsReadOnly, m.readOnly, labels...)
		if errs[i] != nil {
			continue
		}
		at := found[i]
		s.add(fsSize, at.size, labels...)
		s.add(fsFree, at.free, labels...)
		s.add(fsAvail, at.avail, labels...)
		s.add(fsFiles, at.files, labels...)
		s.add(fsNodes, at.filesFree, labels...)
	}
	return nil
}
