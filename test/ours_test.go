package test

import (
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"testing"
	"time"

	rcv "github.com/fairlead/fairlead/internal/receiver"
	"github.com/fairlead/fairlead/test/oracle"
	"github.com/fairlead/fairlead/test/script"
)

// ourReceiver is the receiver of the project, in this process. It can be told to misbehave, and it shows what the other one hides:
// the frames. A frame that comes again must be the same frame, and an event may come again only with its frame: positions and data
// are one record, so that not even a kill makes two frames of one line.
type ourReceiver struct {
	*rcv.Receiver
	t      *testing.T
	oracle *oracle.Oracle
	seed   maphash.Seed

	mu       sync.Mutex // all below
	frames   map[string]uint64
	message  int64 // number of the message that is being taken
	chunk    string
	sum      maphash.Hash
	repeated int                    // frames
	first    map[script.Mark]string // chunk in which an event came first
	stray    []string               // events that came again in another frame
	doings   []map[string]any       // events of what fairlead has cleaned up
}

func newOurReceiver(t *testing.T, o *oracle.Oracle) receiver {
	t.Helper()
	r := &ourReceiver{t: t, oracle: o, seed: maphash.MakeSeed(), frames: map[string]uint64{}, first: map[script.Mark]string{}, message: -1}
	r.sum.SetSeed(r.seed)
	var err error
	if r.Receiver, err = rcv.Listen("127.0.0.1:0", r.event); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *ourReceiver) addr() string { return r.Addr() }
func (r *ourReceiver) kill()        { r.Kill() }

func (r *ourReceiver) start() {
	r.t.Helper()
	if err := r.Restart(); err != nil {
		r.t.Error(err)
	}
}

// drain has nothing to wait for: an event is with the oracle before its frame is acknowledged.
func (r *ourReceiver) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endFrame()
	if n := len(r.stray); n > 0 {
		r.t.Errorf("%d events came in two frames (event: first chunk, second chunk):\n%s", n, strings.Join(r.stray[:min(n, 100)], "\n"))
	}
}

func (r *ourReceiver) event(e *rcv.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The count of messages taken changes between messages only.
	if n := r.Stats().Messages; n != r.message || e.Chunk != r.chunk {
		r.endFrame()
		r.message, r.chunk = n, e.Chunk
	}
	_, _ = r.sum.Write(e.Record)
	record, err := e.Map()
	if err != nil {
		r.t.Errorf("record of %s: %v", e.Tag, err)
		return
	}
	if e.Tag == "fairlead.cleanup" {
		r.doings = append(r.doings, record)
		return
	}
	event := oracle.Event{Tag: e.Tag, Time: e.Time, Fields: map[string]string{}}
	for k, v := range record {
		s, ok := v.(string)
		if !ok {
			r.t.Errorf("field %s of %s is %T, want a string", k, e.Tag, v)
		}
		if k == "log" {
			event.Log = s
		} else {
			event.Fields[k] = s
		}
	}
	r.oracle.Add(event)
	for _, m := range script.Marks(event.Log) {
		if first, ok := r.first[m]; !ok {
			r.first[m] = e.Chunk
		} else if first != e.Chunk {
			r.stray = append(r.stray, fmt.Sprintf("%s/%c %d: %s, %s at %s", m.Writer, m.Stream, m.N, first, e.Chunk, time.Now().UTC().Format(time.RFC3339Nano)))
		}
	}
}

// endFrame books the frame whose last event has come.
func (r *ourReceiver) endFrame() {
	if r.message < 0 {
		return
	}
	sum := r.sum.Sum64()
	r.sum.Reset()
	if before, ok := r.frames[r.chunk]; ok {
		r.repeated++
		if before != sum {
			r.t.Errorf("two contents came under the chunk id %q", r.chunk)
		}
	}
	if r.chunk == "" {
		r.t.Error("a frame asked for no ack")
	}
	r.frames[r.chunk] = sum
	r.message = -1
}
