package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/oracle"
)

// receiver is where fairlead sends to. It starts listening; what it acknowledged reaches the oracle.
type receiver interface {
	addr() string
	kill()  // at once, with all that is on the way
	start() // again, at the same address
	drain() // returns when everything acknowledged so far is with the oracle
}

// otelReceiver is the OpenTelemetry Collector's receiver, a process of its own.
type otelReceiver struct {
	t      *testing.T
	listen string
	output string // file to which it appends before it acknowledges
	log    string
	proc   *lab.Process
	oracle *oracle.Oracle
	read   chan chan struct{} // asks the reader to read to the end and say so
}

func newOTelReceiver(t *testing.T, o *oracle.Oracle) receiver {
	t.Helper()
	dir, err := os.MkdirTemp(bed.dir, "o")
	if err != nil {
		t.Fatal(err)
	}
	r := &otelReceiver{t: t, oracle: o, listen: freeAddr(t), read: make(chan chan struct{}),
		output: filepath.Join(dir, "records.jsonl"), log: filepath.Join(dir, "otelrecv.log")}
	out, err := os.OpenFile(r.output, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	r.start()
	stop, done := make(chan struct{}), make(chan struct{})
	go r.follow(out, stop, done)
	t.Cleanup(func() {
		r.kill()
		close(stop)
		<-done
		out.Close()
		if t.Failed() {
			data, err := os.ReadFile(r.log)
			t.Logf("log of the receiver (%v):\n%s", err, data[max(0, len(data)-4000):])
		}
	})
	return r
}

func (r *otelReceiver) addr() string { return r.listen }

func (r *otelReceiver) start() {
	r.t.Helper()
	log, err := os.OpenFile(r.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(bed.otelrecv, "-listen", r.listen, "-output", r.output)
	cmd.Stdout, cmd.Stderr = log, log
	if r.proc, err = lab.StartProcess(cmd, nil); err != nil {
		r.t.Fatal(err)
	}
	err = poll(r.t.Context(), time.Minute, func() bool {
		c, err := net.Dial("tcp", r.listen)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if err != nil {
		r.t.Errorf("the OpenTelemetry receiver does not take connections: %v", err)
	}
}

func (r *otelReceiver) kill() {
	r.t.Helper()
	if err := r.proc.End(syscall.SIGKILL, 10*time.Second); err != nil {
		r.t.Error(err)
	}
}

func (r *otelReceiver) drain() {
	done := make(chan struct{})
	r.read <- done
	<-done
}

// follow hands the records to the oracle as they are written.
func (r *otelReceiver) follow(out *os.File, stop, done chan struct{}) {
	defer close(done)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var pending []byte
	buf := make([]byte, 1<<20)
	for {
		var asked chan struct{}
		select {
		case <-tick.C:
		case asked = <-r.read:
		case <-stop:
			return
		}
		for {
			n, err := out.Read(buf)
			pending = r.records(append(pending, buf[:n]...))
			if n == 0 {
				if err != nil && !errors.Is(err, io.EOF) {
					r.t.Errorf("read the receiver's records: %v", err)
				}
				break
			}
		}
		if asked != nil {
			close(asked)
		}
	}
}

// records takes all whole lines and returns the rest. A line that is no record was torn by a kill and was not acknowledged.
func (r *otelReceiver) records(data []byte) (rest []byte) {
	for {
		line, rest, ok := bytes.Cut(data, []byte("\n"))
		if !ok {
			return data
		}
		data = rest
		var rec struct {
			Tag     string
			Time    int64
			Log     string
			Fields  map[string]any
			Invalid bool
		}
		if err := json.Unmarshal(line, &rec); err != nil {
			continue
		}
		if rec.Invalid {
			r.t.Errorf("an event is not UTF-8: %q", rec.Log)
		}
		fields := map[string]string{}
		for k, v := range rec.Fields {
			fields[k] = fmt.Sprint(v)
		}
		r.oracle.Add(oracle.Event{Tag: rec.Tag, Time: rec.Time, Log: rec.Log, Fields: fields})
	}
}
