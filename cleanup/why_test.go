package cleanup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The owners of a disk sum up to what df says, files that are deleted and still open included.
func TestExplain(t *testing.T) {
	e := newEngine(t, 128)
	e.image("filler")
	id := e.run(spec{bytes: 5 << 20, sleep: time.Hour})
	volume := e.mounts(id)[0]
	spool := filepath.Join(e.disk, "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"spool/seg": 2 << 20, "held": 7 << 20, "app.log": 3 << 20} {
		if err := os.WriteFile(filepath.Join(e.disk, name), make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	held, err := os.Open(filepath.Join(e.disk, "held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := os.Remove(held.Name()); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	// A root that holds the small disk alone: the one of this machine is large.
	x := explainer{host: Host{SpoolDir: spool}, root: e.root(), names: map[string]string{}, users: map[string][]string{}, layers: map[string]string{}}
	d, err := openDocker(e.host())
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err := x.ask(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	a := x.account(t.Context(), new(prober).disks([]place{{"docker", e.root()}})[0])
	var sum int64
	got := map[string]int64{}
	for _, o := range a.Owners {
		sum += o.Bytes
		got[o.Kind] += o.Bytes
		if o.Kind == ownVolume && o.Name == volume && !strings.Contains(o.Who, "(running)") {
			t.Errorf("the volume is %+v", o)
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(e.disk, &fs); err != nil {
		t.Fatal(err)
	}
	if used := fs.Bsize * int64(fs.Blocks-fs.Bfree); sum != a.UsedBytes || used-sum > 1<<20 || sum-used > 1<<20 {
		t.Errorf("owners sum up to %d, used are %d (then %d)", sum, used, a.UsedBytes)
	}
	for kind, least := range map[string]int64{ownVolume: 5 << 20, ownSpool: 2 << 20, ownDeleted: 7 << 20, ownFolder: 3 << 20, ownImages: 1 << 20} {
		if got[kind] < least || got[kind] > least+4<<20 {
			t.Errorf("%s: %d bytes, want %d or somewhat more", kind, got[kind], least)
		}
	}
	if rest := got[ownRest]; rest < 0 || rest > 2<<20 || !a.Whole {
		t.Errorf("%d bytes belong to nobody, whole %v", rest, a.Whole)
	}
	lines := a.Sentences(3, func(n int64) string { return fmt.Sprint(n) })
	if len(lines) < 5 || !strings.Contains(lines[0], "% full") {
		t.Errorf("%q", lines)
	}
	t.Log(strings.Join(lines, "\n"))
}
