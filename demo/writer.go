package demo

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// part is what one real container is told to do. It writes a corpus by the script, and so its words are known beforehand; how far
// it came stands in a file.
type part struct {
	Corpus string    `json:"corpus"`
	Began  time.Time `json:"began"`
	Until  time.Time `json:"until"`
	Count  string    `json:"count"` // file for the number of groups, 8 bytes
}

func (p part) String() string {
	b, _ := json.Marshal(p) // it cannot fail on these types
	return string(b)
}

// Write is what runs in a real container. It ends by itself, with the context, or when enough is closed.
func Write(ctx context.Context, enough <-chan struct{}, spec string, out, errs io.Writer) error {
	var p part
	if err := json.Unmarshal([]byte(spec), &p); err != nil {
		return fmt.Errorf("read the writer's part: %w", err)
	}
	c, err := loadCorpus(p.Corpus)
	if err != nil {
		return err
	}
	count, err := os.OpenFile(p.Count, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer count.Close()
	pace := pace{player: player{c: c}}
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for n := uint64(0); ; {
		now := time.Now()
		if !now.Before(p.Until) {
			return nil
		}
		if actAt(now.Sub(p.Began)).writing {
			for g := pace.next(now); g != nil; g = pace.next(now) {
				n++
				if _, err := count.WriteAt(binary.BigEndian.AppendUint64(nil, n), 0); err != nil {
					return err
				}
				if err := say(g, out, errs); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-enough:
			return nil
		case <-tick.C:
		}
	}
}

// say writes a group as its process did: what goes to one stream in one call.
func say(g *group, out, errs io.Writer) error {
	var b strings.Builder
	for i, r := range g.records {
		b.WriteString(r.text)
		if i+1 < len(g.records) && g.records[i+1].stderr == r.stderr {
			continue
		}
		w := out
		if r.stderr {
			w = errs
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
		b.Reset()
	}
	return nil
}
