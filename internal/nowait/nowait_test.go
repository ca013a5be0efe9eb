package nowait

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever part of the file is in memory, a read gets all there is.
func TestPread(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 300_001)
	for i := range want {
		want[i] = byte(rnd.Uint32())
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fsync(int(f.Fd())); err != nil { // only clean pages can be dropped
		t.Fatal(err)
	}
	buf := make([]byte, 100_000)
	for range 2000 {
		if rnd.IntN(4) == 0 {
			from := rnd.Int64N(int64(len(want)))
			if err := unix.Fadvise(int(f.Fd()), from, rnd.Int64N(100_000), unix.FADV_DONTNEED); err != nil {
				t.Fatal(err)
			}
		}
		off := rnd.IntN(len(want) + 5000)
		if rnd.IntN(3) == 0 {
			off = off / pageBytes * pageBytes
		}
		b := buf[:rnd.IntN(len(buf))]
		n, err := Pread(f, b, int64(off))
		if err != nil {
			t.Fatal(err)
		}
		rest := want[min(off, len(want)):]
		if rest = rest[:min(len(rest), len(b))]; !bytes.Equal(b[:n], rest) {
			t.Fatalf("%d bytes at %d: got %d, want %d, or other ones", len(b), off, n, len(rest))
		}
	}
	_ = f.Close()
	if n, err := Pread(f, buf, 0); err == nil {
		t.Errorf("read %d bytes of a closed file", n)
	}
}
