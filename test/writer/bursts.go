package main

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"time"

	"github.com/fairlead/fairlead/test/script"
)

// writeBursts writes up to five lines at a time, on either stream, and pauses. What it counts was written in full.
func (o options) writeBursts(ctx context.Context, count *os.File) error {
	if o.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.length)
		defer cancel()
	}
	rnd := rand.New(rand.NewPCG(o.seed, 0))
	var written [2]uint64
	var line []byte
	for ctx.Err() == nil {
		for range 1 + rnd.IntN(5) {
			i := rnd.IntN(2)
			line = script.Numbered{Writer: o.writer, Stream: "oe"[i], N: int(written[i]), At: time.Now().UnixNano()}.Append(line[:0])
			if _, err := []*os.File{os.Stdout, os.Stderr}[i].Write(append(line, '\n')); err != nil {
				return err
			}
			written[i]++
			if count != nil {
				var b [16]byte
				binary.LittleEndian.PutUint64(b[:8], written[0])
				binary.LittleEndian.PutUint64(b[8:], written[1])
				if _, err := count.WriteAt(b[:], 0); err != nil {
					return err
				}
			}
		}
		pause(ctx, o.pauseMin+time.Duration(rnd.Int64N(int64(max(o.pauseMax-o.pauseMin, 1)))))
	}
	return nil
}
