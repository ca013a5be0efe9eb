package fluent

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

func TestZZ(t *testing.T) {
	r := newRig(t)
	r.start(func(s *Sender) { s.cfg.Heartbeat = time.Minute })
	r.add(1, 1, 50)
	r.check(0)
	r.recv.DropConnections()
	for i := 0; r.s.Status().Address != ""; i++ {
		time.Sleep(time.Millisecond)
		if i == 1000 {
			_, port, _ := net.SplitHostPort(r.recv.Addr())
			out, _ := exec.Command("ss", "-tanpoi", "( sport = :"+port+" or dport = :"+port+" )").CombinedOutput()
			fmt.Fprintln(os.Stderr, string(out))
			buf := make([]byte, 1<<20)
			fmt.Fprintln(os.Stderr, string(buf[:runtime.Stack(buf, true)]))
			c := r.s.session
			fmt.Fprintf(os.Stderr, "broke %v held %v now %v alarm %v active %v\n", c.broke, c.held, mono(), c.alarm, c.active)
			os.Exit(3)
		}
	}
}
