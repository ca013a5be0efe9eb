// Command load writes numbered lines to a fairlead by every way that a restart could hurt, is the receiver it forwards to, and says at the end
// what became of them. It is for tests that do something to a machine meanwhile.
//
// It writes as a Docker engine does to a json-file that rotates, on connections to the listener that stay, and on ones that are made for each
// message and closed at once. Nothing asks for acks: what is lost is lost. After SIGTERM it stops writing, waits for what is under way, prints a
// report as JSON, and exits.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/fairlead/fairlead/internal/receiver"
	"github.com/fairlead/fairlead/test/script"
)

const (
	pause    = 2 * time.Millisecond // of each writer between two lines
	patience = 20 * time.Second     // after the last line was written
	standing = 8                    // connections that stay
	short    = 4                    // writers that connect for each message
)

// report is what is printed.
type report struct {
	Written, Arrived, Missing, Repeated int
	Refused, Broken                     int64 // connects, connections
	SlowestConnect                      string
	Lost                                []string // of whom how many did not arrive, and between which two they lie
	Errors                              []string
}

type load struct {
	to, logs string

	mu   sync.Mutex
	seen map[string]map[int]int // per writer, how often each number came
	sent map[string]int
	errs []string

	refused, broken, slowest atomic.Int64
}

func main() {
	l := &load{seen: map[string]map[int]int{}, sent: map[string]int{}}
	var at string
	flag.StringVar(&l.to, "to", "127.0.0.1:24224", "fairlead's listener")
	flag.StringVar(&at, "receive", "127.0.0.1:24230", "where to receive")
	flag.StringVar(&l.logs, "logs", "/var/lib/docker/containers", "Docker's folder of containers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	r, err := receiver.Listen(at, l.take)
	if err == nil {
		err = l.run(ctx)
	}
	if err == nil {
		err = r.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// take notes what arrived. Lines of one event may have been folded. Logs of the host come as well.
func (l *load) take(e *receiver.Event) {
	if strings.HasPrefix(e.Tag, "host.") || strings.HasPrefix(e.Tag, "fairlead.") {
		return
	}
	text := e.Field("log")
	if text == nil {
		text = e.Field("line")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		n, ok := script.ParseNumbered(line)
		if !ok {
			l.note(fmt.Errorf("arrived: %.100q", line))
			continue
		}
		if l.seen[n.Writer] == nil {
			l.seen[n.Writer] = map[int]int{}
		}
		l.seen[n.Writer][n.N]++
	}
}

// note keeps the first few errors. mu is held.
func (l *load) note(err error) {
	if len(l.errs) < 10 {
		l.errs = append(l.errs, err.Error())
	}
}

func (l *load) fail(count *atomic.Int64, err error) {
	count.Add(1)
	l.mu.Lock()
	l.note(err)
	l.mu.Unlock()
}

func (l *load) run(ctx context.Context) error {
	var g sync.WaitGroup
	var fileErr error
	g.Go(func() { fileErr = l.file(ctx) })
	for i := range standing {
		g.Go(func() { l.standing(ctx, fmt.Sprintf("standing%d", i), i%2 == 0) })
	}
	for i := range short {
		g.Go(func() { l.short(ctx, fmt.Sprintf("short%d", i)) })
	}
	g.Wait()
	if fileErr != nil {
		return fileErr
	}
	var r report
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) { // the receiver tells nobody
		if r = l.report(); r.Missing == 0 || time.Now().After(deadline) {
			break
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func (l *load) report() report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := report{Refused: l.refused.Load(), Broken: l.broken.Load(), SlowestConnect: time.Duration(l.slowest.Load()).String(), Errors: l.errs}
	for writer, n := range l.sent {
		r.Written += n
		missing, first, last := 0, -1, 0
		for i := range n {
			switch c := l.seen[writer][i]; c {
			case 0:
				if missing++; first < 0 {
					first = i
				}
				last = i
			default:
				r.Arrived++
				r.Repeated += c - 1
			}
		}
		if r.Missing += missing; missing > 0 {
			r.Lost = append(r.Lost, fmt.Sprintf("%s: %d of %d, from %d to %d", writer, missing, n, first, last))
		}
	}
	return r
}

// numbered calls write with one line after the other, and counts those that it took.
func (l *load) numbered(ctx context.Context, writer string, write func(line []byte) error) error {
	var line []byte
	for n := 0; ctx.Err() == nil; n++ {
		line = script.Numbered{Writer: writer, Stream: 'o', N: n, At: time.Now().UnixNano()}.Append(line[:0])
		if err := write(line); err != nil {
			return err
		}
		l.mu.Lock()
		l.sent[writer] = n + 1
		l.mu.Unlock()
		time.Sleep(pause)
	}
	return nil
}

// file writes as Docker's json-file driver with max-size does.
func (l *load) file(ctx context.Context) error {
	id := strings.Repeat("5a", 32)
	dir := filepath.Join(l.logs, id)
	path := filepath.Join(dir, id+"-json.log")
	if err := os.MkdirAll(dir, 0o710); err != nil {
		return err
	}
	config := fmt.Sprintf(`{"ID":%q,"Name":"/load","LogPath":%q,"Config":{"Image":"load","Labels":{}},"State":{"Running":true}}`, id, path)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "config.v2.json"), []byte(config), 0o600),
		os.WriteFile(filepath.Join(dir, "hostconfig.json"), []byte(`{"LogConfig":{"Type":"json-file","Config":{}}}`), 0o600)); err != nil {
		return err
	}
	var f *os.File
	size := 0
	err := l.numbered(ctx, "file", func(line []byte) (err error) {
		if f == nil {
			if f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640); err != nil {
				return err
			}
		}
		n, err := fmt.Fprintf(f, `{"log":"%s\n","stream":"stdout","time":%q}`+"\n", line, time.Now().UTC().Format(time.RFC3339Nano))
		if err != nil {
			return err
		}
		if size += n; size > 1<<20 {
			size = 0
			err = errors.Join(f.Close(), rotate(path))
			f = nil
		}
		return err
	})
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	return err
}

func rotate(path string) error {
	for _, step := range [][2]string{{".2", ".3"}, {".1", ".2"}, {"", ".1"}} {
		if err := os.Rename(path+step[0], path+step[1]); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// standing writes on one connection for as long as it lasts. Docker's driver names the container; other clients do not.
func (l *load) standing(ctx context.Context, writer string, driver bool) {
	c := l.dial()
	if c == nil {
		return
	}
	defer c.Close()
	if err := l.numbered(ctx, writer, func(line []byte) error {
		_, err := c.Write(message(writer, line, driver))
		return err
	}); err != nil {
		l.fail(&l.broken, err)
	}
}

// short makes a connection for each line.
func (l *load) short(ctx context.Context, writer string) {
	if err := l.numbered(ctx, writer, func(line []byte) error {
		c := l.dial()
		if c == nil {
			return errors.New("gives up")
		}
		_, err := c.Write(message(writer, line, false))
		return errors.Join(err, c.Close())
	}); err != nil {
		l.fail(&l.broken, err)
	}
}

func (l *load) dial() net.Conn {
	begun := time.Now()
	c, err := net.DialTimeout("tcp", l.to, 10*time.Second)
	if err != nil {
		l.fail(&l.refused, err)
		return nil
	}
	for took := int64(time.Since(begun)); ; {
		was := l.slowest.Load()
		if took <= was || l.slowest.CompareAndSwap(was, took) {
			return c
		}
	}
}

// message is a Forward message of one event.
func message(writer string, line []byte, driver bool) []byte {
	b := msgp.AppendArrayHeader(nil, 3)
	b = msgp.AppendString(b, "load."+writer)
	b = msgp.AppendInt64(b, time.Now().Unix())
	if !driver {
		return msgp.AppendStringFromBytes(msgp.AppendString(msgp.AppendMapHeader(b, 1), "line"), line)
	}
	b = msgp.AppendMapHeader(b, 4)
	for _, field := range [][2]string{{"container_id", strings.Repeat("6b", 32)}, {"container_name", "/" + writer}, {"source", "stdout"}} {
		b = msgp.AppendString(msgp.AppendString(b, field[0]), field[1])
	}
	return msgp.AppendStringFromBytes(msgp.AppendString(b, "log"), line)
}
