package forwarder

import (
	"context"
	"sync"

	"github.com/fairlead/fairlead/forwarder/spool"
)

// releaser closes files that are read no more, once what was read of them is on disk: a deleted file that is held open is the only
// copy of its lines. The loop does not wait for the disk; this goroutine does.
type releaser struct {
	spool *spool.Spool
	wake  chan struct{}

	mu    sync.Mutex // guards what follows
	files []retired
	seq   uint64
	want  uint64 // the records up to here are wanted on disk
}

func newReleaser(sp *spool.Spool) *releaser {
	return &releaser{spool: sp, wake: make(chan struct{}, 1)}
}

// add takes over files all of whose events are in records up to seq.
func (r *releaser) add(files []retired, seq uint64) {
	r.mu.Lock()
	r.files, r.seq = append(r.files, files...), seq
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// syncTo has the records up to seq synced, without waiting for it.
func (r *releaser) syncTo(seq uint64) {
	r.mu.Lock()
	r.want = max(r.want, seq)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *releaser) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		r.mu.Lock()
		files, seq, want := r.files, r.seq, r.want
		r.files, r.want = nil, 0
		r.mu.Unlock()
		if want > 0 {
			_ = r.spool.SyncTo(ctx, want) // asked for again if it has to be
		}
		deleted := false
		for _, f := range files {
			if f.file != nil {
				_ = f.file.Look()
				deleted = deleted || f.file.Deleted()
			}
		}
		if deleted && seq > 0 {
			if err := r.spool.SyncTo(ctx, seq); err != nil {
				r.mu.Lock()
				r.files = append(files, r.files...) // tried again with the next file; at stop the spool is synced first
				r.mu.Unlock()
				continue
			}
		}
		closeRetired(files)
	}
}

// closeAll closes what is left after run.
func (r *releaser) closeAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	closeRetired(r.files)
	r.files = nil
}

func closeRetired(files []retired) {
	for _, f := range files {
		if f.file != nil {
			_ = f.source.chain.Close(f.file.File)
		}
	}
}
