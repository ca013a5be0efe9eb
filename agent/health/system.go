package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

var (
	unameInfo = gauge("node_uname_info", "Labeled system information as provided by the uname system call.", "sysname", "release", "version", "machine", "nodename", "domainname")
	reboot    = gauge("fairlead_host_reboot_required", "1 if a newer kernel than the one that runs is installed, or the distribution asks for a reboot.")
)

func (h *Host) system(_ context.Context, s *sink) error {
	var u unix.Utsname
	if err := h.kernel.uname(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	text := func(b [65]byte) string { return unix.ByteSliceToString(b[:]) }
	s.add(unameInfo, 1, text(u.Sysname), text(u.Release), text(u.Version), text(u.Machine), text(u.Nodename), text(u.Domainname))
	why, err := h.rebootFor(text(u.Release))
	s.flag(reboot, why != "")
	return err
}

// rebootFor says why the host should be booted again; empty if it need not. release is the kernel that runs.
func (h *Host) rebootFor(release string) (string, error) {
	if _, err := os.Stat(h.path("var/run/reboot-required")); err == nil {
		return "the distribution asks for it in /var/run/reboot-required", nil
	}
	boot, err := os.ReadDir(h.path("boot"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // a container, or a kernel from elsewhere
	}
	if err != nil {
		return "", err
	}
	newest, here := "", false
	for _, f := range boot {
		version, is := strings.CutPrefix(f.Name(), "vmlinuz-")
		if !is || strings.Contains(version, "rescue") {
			continue
		}
		here = here || version == release
		if newest == "" || compareVersions(version, newest) > 0 {
			newest = version
		}
	}
	// Where the one that runs is not installed, what is installed is not for this machine.
	if here && compareVersions(newest, release) > 0 {
		return fmt.Sprintf("kernel %s is installed, %s runs", newest, release), nil
	}
	return "", nil
}

// compareVersions tells which of two versions is newer, as rpm does: runs of digits as numbers, runs of letters as text, a number
// above a text, and the longer one above the shorter.
func compareVersions(a, b string) int {
	for {
		cut := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
		a, b = strings.TrimLeftFunc(a, cut), strings.TrimLeftFunc(b, cut)
		if a == "" || b == "" {
			return len(a) - len(b)
		}
		var x, y string
		x, a = segment(a)
		y, b = segment(b)
		xn, yn := unicode.IsDigit(rune(x[0])), unicode.IsDigit(rune(y[0]))
		switch {
		case xn && !yn:
			return 1
		case !xn && yn:
			return -1
		case xn:
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
}

// segment cuts a run of digits or of letters off a text that begins with one. Other runes than ASCII's count as letters.
func segment(s string) (run, rest string) {
	digit := s[0] >= '0' && s[0] <= '9'
	for i := range len(s) {
		c := s[i]
		isDigit := c >= '0' && c <= '9'
		separator := c < 0x80 && !unicode.IsLetter(rune(c)) && !isDigit
		if separator || isDigit != digit {
			return s[:i], s[i:]
		}
	}
	return s, ""
}
