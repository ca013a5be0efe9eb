package forwarder

import (
	"bytes"
	"context"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/spool"
)

// queue is the spool as the sender sees it.
type queue struct {
	spool  *spool.Spool
	reader *spool.Reader
	frames []spool.Frame // of one call of Next
	word   chan struct{} // of one: there is something for the sender's goroutine
}

func newQueue(sp *spool.Spool) *queue {
	return &queue{spool: sp, reader: sp.Reader(), word: make(chan struct{}, 1)}
}

// wake wakes the sender's goroutine if it waits for data. Whoever appends to the spool calls it, or has the sender's Turn do the work.
func (q *queue) wake() {
	select {
	case q.word <- struct{}{}:
	default:
	}
}

// send has the sender work on this goroutine as far as that needs no waiting.
func (q *queue) send(sender *fluent.Sender) {
	if !sender.Turn() {
		q.wake()
	}
	q.spool.SaveCursor()
}

func (q *queue) Next(dst []fluent.Frame, maxFrames int, maxBytes int64) ([]fluent.Frame, error) {
	var err error
	q.frames, err = q.reader.Next(q.frames[:0], maxFrames, maxBytes)
	for _, f := range q.frames {
		dst = append(dst, fluent.Frame{Seq: f.Seq, Events: f.Events, File: f.File, Off: f.Off, Len: f.Len, Data: f.Data})
	}
	return dst, err
}

func (q *queue) Rewind() { q.reader.Rewind() }

func (q *queue) Ready() bool { return q.reader.Ready() }

func (q *queue) Wait(ctx context.Context) error {
	for !q.reader.Ready() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.word:
		}
	}
	return nil
}

func (q *queue) Ack(seq uint64) error {
	_, err := q.spool.Ack(seq)
	return err
}

// Later, AckAlone and SetAside make the queue a fluent.Asider.
func (q *queue) Later(head uint64) (fluent.Frame, bool, error) {
	f, ok, err := q.reader.Later(head, sameTag)
	return fluent.Frame{Seq: f.Seq, Events: f.Events, File: f.File, Off: f.Off, Len: f.Len}, ok, err
}

func sameTag(head, other []byte) bool {
	a, ok := fluent.Tag(head)
	if !ok {
		return false
	}
	b, ok := fluent.Tag(other)
	return ok && bytes.Equal(a, b)
}

func (q *queue) AckAlone(seq uint64) error {
	_, err := q.spool.AckAlone(seq)
	return err
}

func (q *queue) SetAside(seq uint64) error { return q.spool.SetAside(seq) }
