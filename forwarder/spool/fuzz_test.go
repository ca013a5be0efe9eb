package spool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzRecover opens a directory with any bytes as segment and cursor: no panic, no hang, and the spool works afterwards. What was
// appended to a spool that had been damaged so is all there at the next start.
func FuzzRecover(f *testing.F) {
	dir := f.TempDir()
	s := opened(f, testConfig(dir), nil)
	mustAppend(f, s, record("zero", 1, "k", "0"), inputRecord("in"), record("one", 1, "k", "1"))
	kill(s)
	seg := readFile(f, segments(f, dir, segmentSuffix)[0])
	f.Add(seg, []byte{}, uint64(1))
	f.Add(append(seg, seg...), []byte("torn"), uint64(2))
	f.Add(append(make([]byte, 50), seg...), make([]byte, 12), uint64(3))
	f.Add([]byte(strings.Repeat("\xfa\x1d\x01\x00", 200)), []byte{}, uint64(4))
	base := memoryDir(f)
	n := 0
	f.Fuzz(func(t *testing.T, seg, acked []byte, seed uint64) {
		n++
		dir := filepath.Join(base, fmt.Sprint(os.Getpid(), "-", n))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		first := uint64(1) << 32
		if seed%5 == 0 {
			first = seed
		}
		for name, b := range map[string][]byte{segmentName(first): seg, ackedName: acked} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(testConfig(dir), quiet(), nil)
		if err != nil {
			return // sequence numbers used up, by a cursor or name
		}
		defer kill(s)
		if err := s.Inputs(func(uint64, []byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
		drain(t, s)
		rng := rand.New(rand.NewPCG(seed, 0))
		var want []string
		for i := range 1 + rng.IntN(20) {
			b := strings.Repeat(fmt.Sprint(i), rng.IntN(3000))
			mustAppend(t, s, record(b, i, "k", b))
			want = append(want, b)
		}
		s.step(s.now()) // saves the cursor
		kill(s)
		if s, err = Open(testConfig(dir), quiet(), nil); err != nil {
			t.Fatal(err)
		}
		if got := string(s.Marks()["k"]); got != want[len(want)-1] {
			t.Fatalf("mark of %d bytes, want %d", len(got), len(want[len(want)-1]))
		}
		equal(t, drain(t, s), want)
		balanced(t, s)
	})
}
