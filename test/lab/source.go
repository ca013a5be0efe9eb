package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fairlead/fairlead/test/script"
)

// source writes numbered lines into a container's log file as the engine does: one write a record, rotated by size.
type source struct {
	ledger   *Ledger
	name     string
	path     string
	f        *os.File
	size     int64
	maxSize  int64 // 0: not rotated
	maxFiles int
	written  [2]int
	buf      []byte
}

func newSource(l *Ledger, containers, writer string, n int) (*source, error) {
	id := fmt.Sprintf("%064x", n+1)
	dir := filepath.Join(containers, id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.v2.json"), fmt.Appendf(nil, `{"Name":"/%s"}`, writer), 0o600); err != nil {
		return nil, err
	}
	s := &source{ledger: l, name: writer, path: filepath.Join(dir, id+"-json.log"), maxFiles: 3}
	var err error
	if s.f, err = os.OpenFile(s.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640); err != nil {
		return nil, err
	}
	l.Expect(writer, 'o')
	l.Expect(writer, 'e')
	return s, nil
}

// run writes so many lines a second until the context ends, but none while silent is held. The time in a record is the clock's.
func (s *source) run(ctx context.Context, perSecond int, silent *sync.RWMutex, clock func() time.Time) error {
	step := max(time.Second/time.Duration(perSecond), 2*time.Millisecond)
	last, due, n := time.Now(), 0.0, 0
	for ctx.Err() == nil {
		silent.RLock()
		now := time.Now()
		due += min(now.Sub(last), max(10*step, 200*time.Millisecond)).Seconds() * float64(perSecond) // what was not written in silence is not made up for
		last = now
		for ; due >= 1; due-- {
			if err := s.write(n/3%2, clock()); err != nil {
				silent.RUnlock()
				return err
			}
			n++
		}
		silent.RUnlock()
		_ = pause(ctx, step)
	}
	return s.f.Close()
}

func (s *source) write(stream int, now time.Time) error {
	s.buf = append(s.buf[:0], `{"log":"`...)
	s.buf = script.Numbered{Writer: s.name, Stream: "oe"[stream], N: s.written[stream], At: time.Now().UnixNano()}.Append(s.buf)
	s.buf = fmt.Appendf(s.buf, `\n","stream":"%s","time":"%s"}`+"\n", []string{"stdout", "stderr"}[stream], now.UTC().Format(time.RFC3339Nano))
	if s.maxSize > 0 && s.size+int64(len(s.buf)) > s.maxSize {
		if err := s.rotate(); err != nil {
			return err
		}
	}
	n, err := s.f.Write(s.buf)
	s.size += int64(n)
	if err != nil {
		return err
	}
	s.written[stream]++
	s.ledger.Wrote(s.name, "oe"[stream], s.written[stream])
	return nil
}

// rotate does what the engine does at max-size: close, shift the names, open anew.
func (s *source) rotate() error {
	err := s.f.Close()
	for i := s.maxFiles - 1; i > 1; i-- {
		if e := os.Rename(fmt.Sprintf("%s.%d", s.path, i-1), fmt.Sprintf("%s.%d", s.path, i)); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	err = errors.Join(err, os.Rename(s.path, s.path+".1"))
	f, e := os.OpenFile(s.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	s.f, s.size = f, 0
	return errors.Join(err, e)
}
