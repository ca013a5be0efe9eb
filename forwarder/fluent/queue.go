package fluent

import (
	"context"
	"os"
)

// Frame is one sealed frame of the queue. Its last IDBytes bytes are its chunk id, which is the same whenever it is sent.
type Frame struct {
	Seq    uint64 // grows from frame to frame
	Events int
	File   *os.File // where the frame lies when Data is nil: Len bytes at Off, handed to the kernel by sendfile
	Off    int64
	Len    int64
	Data   []byte // the frame itself, for small ones; valid until the next call of Next
}

// Queue is what a Sender takes frames from.
//
// Next and Rewind are called by one goroutine at a time, Wait always by the same. Ready and Ack may come from others, while Next or
// Wait runs, and Next while Wait does.
type Queue interface {
	// Next appends the frames that follow the last ones it gave, at most maxFrames, and of maxBytes together unless the
	// first alone is larger. None means that there is none yet.
	Next(dst []Frame, maxFrames int, maxBytes int64) ([]Frame, error)
	// Rewind makes Next begin again at the first frame that is not acked.
	Rewind()
	// Ready reports whether Next may have something to give.
	Ready() bool
	// Wait returns when Next may have something to give, or with an error when ctx ends.
	Wait(ctx context.Context) error
	// Ack says that all frames up to seq have been acknowledged.
	Ack(seq uint64) error
}

func (f *Frame) size() int64 {
	if f.Data != nil {
		return int64(len(f.Data))
	}
	return f.Len
}
