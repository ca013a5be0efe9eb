package agent

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/fairlead/fairlead/forwarder"
	"github.com/fairlead/fairlead/internal/glob"
)

// tapEvery is how often a viewer is written to at most: each time wakes two processes.
const tapEvery = 20 * time.Millisecond

// tap writes events as they pass, as messages of the Forward protocol, until the viewer goes or the daemon ends. They are made
// readable at the other end: here they are only copied.
func (a *Agent) tap(w http.ResponseWriter, r *http.Request) {
	tag, err := glob.Compile(cmp.Or(r.FormValue("tag"), "*"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	idle := a.now == nil || a.now.forwarder == nil
	a.mu.Unlock()
	if idle {
		http.Error(w, "forward.to is not set: nothing is read, so nothing passes", http.StatusServiceUnavailable)
		return
	}
	t, err := a.taps.Open(tag)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer t.Close()
	w.Header().Set("Content-Type", "application/vnd.fairlead.events")
	out := http.NewResponseController(w)
	if err := out.Flush(); err != nil {
		return
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	var events []byte
	for {
		select {
		case <-r.Context().Done():
			return
		case <-pause.C:
		}
		var dropped int64
		if events, dropped, err = t.Next(r.Context(), events); err != nil {
			return
		}
		if dropped > 0 {
			events = forwarder.AppendDropped(events, dropped, time.Now())
		}
		if _, err = w.Write(events); err == nil {
			err = out.Flush()
		}
		if err != nil {
			return // the viewer has gone
		}
		pause.Reset(tapEvery)
	}
}

// Tapped is an event that passed.
type Tapped struct {
	Time    time.Time
	Tag     string
	Dropped int64 // not an event, but that many passed too fast to be shown
	record  msgp.Raw
}

// Tap shows events as they pass until the context or the daemon ends; began is called when nothing is missed any more. tag is a glob,
// empty for all.
func (c Client) Tap(ctx context.Context, tag string, began func(), show func(Tapped) error) error {
	answer, err := c.do(ctx, http.MethodGet, "/tap?tag="+url.QueryEscape(tag))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		return fmt.Errorf("tap the daemon on %s: %s", c.Socket, cmp.Or(string(bytes.TrimSpace(why)), answer.Status))
	}
	began()
	in := msgp.NewReader(bufio.NewReaderSize(answer.Body, 64<<10))
	var message msgp.Raw
	for {
		if err := message.DecodeMsg(in); err != nil {
			if ctx.Err() != nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			return fmt.Errorf("tap the daemon on %s: %w", c.Socket, err)
		}
		e, err := readTapped(message)
		if err == nil {
			err = show(e)
		}
		if err != nil {
			return err
		}
	}
}

// readTapped reads [tag, time, record]. What it answers is valid as long as the message.
func readTapped(message []byte) (e Tapped, err error) {
	n, b, err := msgp.ReadArrayHeaderBytes(message)
	if err != nil || n != 3 {
		return e, fmt.Errorf("read the daemon's answer: no event: %w", cmp.Or(err, errors.New("not three elements")))
	}
	if e.Tag, b, err = msgp.ReadStringBytes(b); err != nil {
		return e, fmt.Errorf("read the daemon's answer: tag: %w", err)
	}
	if len(b) >= 10 && b[0] == 0xd7 && b[1] == 0 {
		e.Time = time.Unix(int64(binary.BigEndian.Uint32(b[2:])), int64(binary.BigEndian.Uint32(b[6:])))
		b = b[10:]
	} else {
		var seconds int64
		if seconds, b, err = msgp.ReadInt64Bytes(b); err != nil {
			return e, fmt.Errorf("read the daemon's answer: time: %w", err)
		}
		e.Time = time.Unix(seconds, 0)
	}
	e.record = b
	if e.Tag == forwarder.DroppedTag {
		e.Dropped, _, _ = msgp.ReadInt64Bytes(msgp.Locate("dropped", b)) // 0: another program's event under this tag
	}
	return e, nil
}

// Field is a text of the record; nil if it has none of that name.
func (e Tapped) Field(name string) []byte {
	v := msgp.Locate(name, e.record)
	if len(v) == 0 {
		return nil
	}
	for _, read := range []func([]byte) ([]byte, []byte, error){msgp.ReadStringZC, msgp.ReadBytesZC} {
		if text, _, err := read(v); err == nil {
			return text
		}
	}
	return nil
}

// Record is the record as JSON. A record that has no such form (a key that is no text, a number that is none) is shown as the bytes it is.
func (e Tapped) Record() json.RawMessage {
	text, err := e.record.MarshalJSON()
	if err == nil && json.Valid(text) {
		return text
	}
	text, err = json.Marshal(map[string][]byte{"msgpack": e.record})
	if err != nil {
		panic("agent: bytes have no JSON form: " + err.Error())
	}
	return text
}

// MarshalJSON is the line of `fairlead tap --raw`.
func (e Tapped) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // it is for people, and no browser
	err := enc.Encode(struct {
		Time   time.Time       `json:"time"`
		Tag    string          `json:"tag"`
		Record json.RawMessage `json:"record"`
	}{e.Time.UTC(), e.Tag, e.Record()})
	return b.Bytes(), err
}
