package forwarder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/fairlead/fairlead/forwarder/listen"
)

// Say brings an event of fairlead's own into the spool, from where it goes to Fluentd like any other: what was cleaned up, how an
// instance is taken out of service. Values are those that MessagePack has: text, numbers, booleans, and lists and maps of them. It
// waits while the spool is full; ErrNotRunning means that there is none. When it returns without an error the event survives a kill of
// the process.
func (f *Forwarder) Say(ctx context.Context, tag string, t time.Time, record map[string]any) error {
	f.mu.Lock()
	in, last := f.in, f.last
	f.mu.Unlock()
	if in == nil || last != nil {
		return ErrNotRunning
	}
	if _, has := record[instanceField]; !has && f.instance.known() {
		record = maps.Clone(record)
		record[instanceField] = *f.instance.id.Load()
	}
	raw, err := msgp.AppendMapStrIntf(nil, record)
	if err != nil {
		return fmt.Errorf("event of %s: %w", tag, err)
	}
	_, err = in.Take(ctx, nil, []listen.Entry{{Tag: []byte(tag), Time: t.UnixNano(), Record: raw}})
	return err
}

// ErrUnknown means that no log of that container is known.
var ErrUnknown = errors.New("no log of that container is known")

// Delivered reports whether everything in a container's log was read and acknowledged by Fluentd, as far as the log was looked at: of one
// that still runs it may grow. id is the whole id.
func (f *Forwarder) Delivered(id string) (bool, error) {
	st := f.Status()
	if st.Stalled {
		return false, errors.New("the reading loop does not answer")
	}
	for i := range st.Sources {
		if filepath.Base(st.Sources[i].Path) == id+"-json.log" {
			return st.Sources[i].Delivered, nil
		}
	}
	return false, ErrUnknown
}

// TrimSpool has the spool let go of what is acknowledged and still on disk, and answers how many bytes that is. They are free once the next
// event has come.
func (f *Forwarder) TrimSpool() int64 {
	f.mu.Lock()
	sp := f.spool
	f.mu.Unlock()
	if sp == nil {
		return 0
	}
	return sp.Trim()
}
