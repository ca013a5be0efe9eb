package lab

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
)

// child is a receiver in a process of its own, so that it can be stopped whole as SIGSTOP does. On its standard output it says what it
// takes, before it acknowledges it: a line of an event's arrival (Unix nanoseconds) and text, or of `connections` and their number.
type child struct {
	addr        string
	proc        *Process
	connections atomic.Int64
	read        chan struct{} // closed when its output has ended
}

// ServeChild is the main function of the child. It ends with the process.
func ServeChild(addr string) error {
	var r *receiver.Receiver
	var connections int64
	var buf []byte
	ready := make(chan struct{})
	r, err := receiver.Listen(addr, func(e *receiver.Event) {
		<-ready
		buf = buf[:0]
		if n := r.Stats().Connections; n != connections {
			connections = n
			buf = fmt.Appendf(buf, "connections %d\n", n)
		}
		buf = fmt.Appendf(buf, "%d %s\n", time.Now().UnixNano(), e.Field("log"))
		if _, err := os.Stdout.Write(buf); err != nil {
			os.Exit(1) // nobody listens: what is not told must not be acknowledged
		}
	})
	if err != nil {
		return err
	}
	close(ready)
	select {}
}

func startChild(program string, l *Ledger) (*child, error) {
	if program == "" {
		return nil, errors.New("a receiver in another process needs the program test/reliability")
	}
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	c := &child{addr: addr, read: make(chan struct{})}
	cmd := exec.Command(program, "-receiver", addr)
	cmd.Stderr = os.Stderr
	// Not StdoutPipe: Wait would close our end before all of it is read.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	c.proc, err = StartProcess(cmd, nil)
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	go func() { // ends with the process; close waits
		defer close(c.read)
		defer r.Close()
		for in := bufio.NewScanner(r); in.Scan(); {
			word, rest, _ := bytes.Cut(in.Bytes(), []byte(" "))
			if string(word) == "connections" {
				n, _ := strconv.ParseInt(string(rest), 10, 64)
				c.connections.Store(n)
			} else if at, err := strconv.ParseInt(string(word), 10, 64); err == nil {
				l.Receive(rest, time.Unix(0, at))
			}
		}
	}()
	return c, nil
}

func (c *child) close() error {
	_ = c.proc.Signal(syscall.SIGCONT)
	err := c.proc.End(syscall.SIGKILL, 10*time.Second)
	<-c.read
	return err
}
