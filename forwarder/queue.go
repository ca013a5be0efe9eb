package forwarder

import (
	"context"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/spool"
)

// queue is the spool as the sender sees it.
type queue struct {
	spool  *spool.Spool
	reader *spool.Reader
	frames []spool.Frame // of one call of Next
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

func (q *queue) Wait(ctx context.Context) error { return q.reader.Wait(ctx) }

func (q *queue) Ack(seq uint64) error {
	_, err := q.spool.Ack(seq)
	return err
}
