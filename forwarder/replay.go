package forwarder

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/spool"
)

// Replayed is what was brought back into the spool.
type Replayed struct {
	Frames int64 `json:"frames"`
	Events int64 `json:"events"`
	Bytes  int64 `json:"bytes"`
}

var (
	// ErrNotRunning is what Replay answers while there is no spool to bring anything into.
	ErrNotRunning = errors.New("the spool is not open")
	// ErrFull is in the answer while there is no room.
	ErrFull = spool.ErrFull
)

// checkReplay reports why what was kept cannot be sent.
func checkReplay(k spool.Kept) error {
	if k.Input {
		return errors.New("an input record: its events are in a later frame of the same spool, or wait in it for its own daemon")
	}
	if err := fluent.CheckFrame(k.Frame); err != nil {
		return fmt.Errorf("no frame of the Forward protocol: %w", err)
	}
	return nil
}

// SetAsideFiles lists the files of what was set aside, the oldest first.
func SetAsideFiles(cfg spool.Config) ([]string, error) {
	paths, _, err := spool.SetAsideFiles(cfg.Dir)
	return paths, err
}

// IsSegment reports whether path is a segment of the spool itself: what is in it is on its way anyway.
func IsSegment(cfg spool.Config, path string) bool { return spool.IsSegment(cfg.Dir, path) }

// ReadReplay reads a file of a spool. It calls take for each record that Replay takes, whose bytes are valid during the call, and
// problem with what cannot be replayed.
func ReadReplay(f io.ReaderAt, size int64, take func(off int64, record []byte) error, problem func(string)) error {
	inputs := 0
	err := spool.Records(f, size, func(k spool.Kept) error {
		switch {
		case k.Input:
			inputs++
			return nil
		case len(k.Frame) == 0: // positions
			return nil
		}
		if err := checkReplay(k); err != nil {
			problem(fmt.Sprintf("record %x at %d: %v", k.Seq, k.Off, err))
			return nil
		}
		return take(k.Off, k.Bytes)
	}, func(off, n int64) { problem(fmt.Sprintf("%d bytes at %d are no whole record", n, off)) })
	if inputs > 0 {
		problem(fmt.Sprintf("%d input records are left out: their events are in later frames of the same spool, or wait in it for its own daemon", inputs))
	}
	return err
}

// Replay brings the frames of a stream of records into the spool and returns when they are on disk. With an error it says
// how much of the stream, from its beginning, is in all the same; spool.ErrFull asks for patience.
func (f *Forwarder) Replay(ctx context.Context, records io.Reader) (Replayed, error) {
	f.mu.Lock()
	sp := f.spool
	f.mu.Unlock()
	if sp == nil {
		return Replayed{}, ErrNotRunning
	}
	done, err := replay(ctx, sp, records)
	if errors.Is(err, spool.ErrClosed) {
		err = ErrNotRunning
	}
	return done, err
}

// ReplayInto opens a spool that no daemon uses for as long as use runs, which may bring records in as Forwarder.Replay does.
func ReplayInto(ctx context.Context, cfg spool.Config, log *slog.Logger, use func(func(context.Context, io.Reader) (Replayed, error)) error) (err error) {
	sp, err := spool.Open(cfg, log, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sp.Close()) }()
	g, ctx := errgroup.WithContext(ctx)
	ctx, end := context.WithCancel(ctx)
	g.Go(func() error { return sp.Run(ctx) })
	err = use(func(ctx context.Context, r io.Reader) (Replayed, error) { return replay(ctx, sp, r) })
	end()
	return errors.Join(err, g.Wait())
}

func replay(ctx context.Context, sp *spool.Spool, records io.Reader) (done Replayed, err error) {
	r := bufio.NewReader(records)
	last := uint64(0)
	for err == nil {
		var k spool.Kept
		if k, err = spool.ReadRecord(r); err != nil {
			break
		}
		if err = checkReplay(k); err != nil {
			break
		}
		rec := k.Again()
		if _, err = sp.Append([]*spool.Record{rec}); err != nil {
			break
		}
		last = rec.Seq
		done.Frames++
		done.Events += int64(k.Events)
		done.Bytes += int64(len(k.Frame))
	}
	if err == io.EOF { //nolint:errorlint // as ReadRecord gives it, not what it may wrap
		err = nil
	}
	if last == 0 {
		return done, err
	}
	if serr := sp.SyncTo(ctx, last); serr != nil {
		return Replayed{}, serr // what is in it is not safe: it must be kept, and may come twice
	}
	return done, err
}
