package fluent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// fileQueue is a queue in one file, with an index in memory. Frames up to small bytes are given as Data.
type fileQueue struct {
	packer *Compressor // how frames are sealed; changed between calls of add
	t      testing.TB
	file   *os.File
	small  int64
	buf    []byte        // of the Data given last
	kick   chan struct{} // where it is not nil, Wait is woken by it only: somebody calls Turn

	mu    sync.Mutex // guards all below
	life  string
	index []place
	next  int // what Next gives
	acked int // frames up to here are acked
	size  int64
	word  chan struct{} // closed when there is more, or something was acked
	fail  error         // what Next says
}

type place struct {
	off, n int64
	events int
}

func newFileQueue(t testing.TB) *fileQueue {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "queue"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &fileQueue{t: t, file: f, small: 32 << 10, life: "00112233aabbccdd", word: make(chan struct{})}
}

// add seals b and appends its frame.
func (q *fileQueue) add(b *Builder) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.SealWith(q.packer)
	frame := b.Frame()
	copy(frame[len(frame)-IDBytes:], fmt.Sprintf("%s%016x", q.life, len(q.index)+1))
	if _, err := q.file.WriteAt(frame, q.size); err != nil {
		q.t.Error(err)
	}
	q.index = append(q.index, place{q.size, int64(len(frame)), b.Events()})
	q.size += int64(len(frame))
	q.wake()
}

func (q *fileQueue) wake() {
	close(q.word)
	q.word = make(chan struct{})
}

func (q *fileQueue) Ready() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.next < len(q.index)
}

func (q *fileQueue) Next(dst []Frame, maxFrames int, maxBytes int64) ([]Frame, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.buf = q.buf[:0]
	for n := 0; n < maxFrames && q.next < len(q.index); n++ {
		p := q.index[q.next]
		if n > 0 && p.n > maxBytes {
			break
		}
		maxBytes -= p.n
		f := Frame{Seq: uint64(q.next + 1), Events: p.events, Len: p.n}
		if p.n <= q.small {
			if cap(q.buf)-len(q.buf) < int(p.n) {
				q.buf = make([]byte, 0, max(1<<20, p.n))
			}
			at := len(q.buf)
			q.buf = q.buf[:at+int(p.n)]
			if _, err := q.file.ReadAt(q.buf[at:], p.off); err != nil {
				return dst, err
			}
			f.Data = q.buf[at:]
		} else {
			f.File, f.Off = q.file, p.off
		}
		dst = append(dst, f)
		q.next++
	}
	if len(dst) == 0 {
		return dst, q.fail
	}
	return dst, nil
}

func (q *fileQueue) Rewind() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next = q.acked
}

func (q *fileQueue) Wait(ctx context.Context) error {
	for {
		q.mu.Lock()
		ready, word := q.next < len(q.index) || q.fail != nil, q.word
		q.mu.Unlock()
		if q.kick != nil {
			word = q.kick
		}
		if ready {
			return nil
		}
		select {
		case <-word:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (q *fileQueue) Ack(seq uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if int(seq) <= q.acked || int(seq) > q.next {
		q.t.Errorf("ack of frame %d while %d are acked and %d were given", seq, q.acked, q.next)
	}
	q.acked = int(seq)
	q.wake()
	return nil
}

// drained waits until everything that was added is acked.
func (q *fileQueue) drained(ctx context.Context) error {
	for {
		q.mu.Lock()
		done, word := q.acked == len(q.index), q.word
		acked, all := q.acked, len(q.index)
		q.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-word:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d frames acked: %w", acked, all, ctx.Err())
		}
	}
}
