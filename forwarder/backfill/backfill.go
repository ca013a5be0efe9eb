// Package backfill reads what containers with a remote log driver wrote from the cache that Docker keeps of it (dual logging, engines
// from 20.10 on), through the Engine API; and from disk, which containers those are. It does not know what of it was received.
package backfill

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/moby/moby/client"
)

// Line is a line, or a piece of one over 16 KiB. It is valid during the call.
type Line struct {
	Source string // stdout or stderr
	Time   int64  // as the driver sends it, Unix ns
	Text   []byte // without its newline
	More   bool   // the next piece goes on with it
}

// maxFrame is more than the engine makes a frame.
const maxFrame = 1 << 20

// Read calls f for what the container wrote at the time since (Unix ns) and later, in the order the engine has it.
//
// A container with a terminal is left out (nothing is read): the engine's answer does not tell where its long lines end.
func Read(ctx context.Context, c *client.Client, id string, since int64, f func(*Line) error) error {
	answer, err := c.ContainerLogs(ctx, id, client.ContainerLogsOptions{
		ShowStdout: true, ShowStderr: true, Timestamps: true, Since: fmt.Sprintf("%d.%09d", since/1e9, since%1e9),
	})
	if err != nil {
		return fmt.Errorf("read the cached log of %s: %w", id[:min(len(id), 12)], err)
	}
	defer func() { _ = answer.Close() }()
	if err := read(answer, f); err != nil {
		return fmt.Errorf("read the cached log of %s: %w", id[:min(len(id), 12)], err)
	}
	return nil
}

var errFrame = errors.New("the engine's answer is not made of frames")

// read takes the engine's frames apart: a stream, three zeros, a length, and a time with a blank before the text. The last piece of a
// long line has no newline in it, so a piece is told by the time of the next on its stream, which is the same.
func read(r io.Reader, f func(*Line) error) error {
	var held [2]struct {
		line Line
		buf  []byte
		has  bool
		open bool // without newline
	}
	give := func(i int, more bool) error {
		h := &held[i]
		if !h.has {
			return nil
		}
		h.has = false
		h.line.More = more
		return f(&h.line)
	}
	var head [8]byte
	var frame []byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			return err
		}
		n := int(binary.BigEndian.Uint32(head[4:]))
		if head[0] < 1 || head[0] > 2 || head[1]|head[2]|head[3] != 0 || n > maxFrame {
			return errFrame
		}
		if cap(frame) < n {
			frame = make([]byte, n)
		}
		frame = frame[:n]
		if _, err := io.ReadFull(r, frame); err != nil {
			return err
		}
		stamp, text, ok := bytes.Cut(frame, []byte(" "))
		t, err := time.Parse(time.RFC3339Nano, string(stamp))
		if !ok || err != nil {
			return errFrame
		}
		i := int(head[0]) - 1
		h := &held[i]
		ns := t.UnixNano()
		if err := give(i, h.open && h.line.Time == ns); err != nil {
			return err
		}
		text, whole := bytes.CutSuffix(text, []byte("\n"))
		h.buf = append(h.buf[:0], text...)
		h.line = Line{Source: [2]string{"stdout", "stderr"}[i], Time: ns, Text: h.buf}
		h.has, h.open = true, !whole
	}
	for i := range held {
		if err := give(i, false); err != nil {
			return err
		}
	}
	return nil
}
