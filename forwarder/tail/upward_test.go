package tail

import (
	"fmt"
	"os"
	"testing"
)

// The ECS agent numbers what it rotates upwards: .10 is newer than .9, and the lowest are deleted. Files that an older agent named
// by the hour come before all of them.
func TestUpward(t *testing.T) {
	w := newWorld(t)
	w.chain.Upward = true
	w.write(".2026-11-20-14", lines(0, 2)...)
	w.write(".2026-11-20-15", lines(2, 4)...)
	for i, n := range []int{8, 9, 10} {
		w.write(fmt.Sprintf(".%d", n), lines(4+2*i, 6+2*i)...)
	}
	w.write("", lines(10, 12)...)
	w.poll()
	w.expect(lines(0, 12)...)

	// It rotates twice between two looks.
	w.write("", lines(12, 13)...)
	w.rename("", ".11")
	w.write("", lines(13, 14)...)
	w.rename("", ".12")
	w.write("", lines(14, 15)...)
	_ = os.Remove(w.path + ".8")
	w.poll()
	w.expect(lines(12, 15)...)

	// And while nobody reads.
	known := w.known()
	w.write("", lines(15, 16)...)
	w.rename("", ".13")
	w.write("", lines(16, 17)...)
	w.rename("", ".14")
	_ = os.Remove(w.path + ".9")
	w.write("", lines(17, 18)...)
	w = w.again(known...)
	w.chain.Upward = true
	w.poll()
	w.expect(lines(15, 18)...)
}

// Numbers beyond those that logrotate gives are no siblings of a log that it rotates: they would be looked for one by one.
func TestHighNumbers(t *testing.T) {
	w := newWorld(t)
	w.write(".9999999", "not ours")
	w.write("", "live")
	w.poll()
	w.expect("live")
	if Sibling("app.log", "app.log.9999999") {
		t.Error("app.log.9999999 counts as rotated by logrotate")
	}
}
