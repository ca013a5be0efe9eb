package drain

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"
)

// Status is what is to be seen from outside.
type Status struct {
	Phase    Phase       `json:"phase"`
	Causes   causes      `json:"causes,omitempty"`
	End      time.Time   `json:"end,omitzero"` // when nothing is waited for any more
	Tasks    int         `json:"tasks"`        // that are waited for
	Hook     *HookStatus `json:"hook,omitempty"`
	Spilled  *Spilled    `json:"spilled,omitempty"`
	Result   *Result     `json:"result,omitempty"` // of the last round, once it has ended
	Last     string      `json:"last,omitempty"`   // that was told
	Instance string      `json:"container_instance,omitempty"`
}

// HookStatus is the lifecycle hook of ours.
type HookStatus struct {
	Name       string `json:"name"`
	Group      string `json:"group,omitempty"`
	Heartbeats int    `json:"heartbeats"`
	Completed  bool   `json:"completed"`
}

// Status answers at once.
func (d *Drain) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.status
	s.Phase, s.Causes, s.Result, s.Instance = d.phase, slices.Clone(d.causes), d.result, d.note.Identity.ARN
	if len(s.Causes) > 0 {
		s.End = d.causes.end()
		if d.cfg.Hook != "" && d.causes.of(Lifecycle) != nil {
			s.Hook = &HookStatus{d.cfg.Hook, d.hook.group, d.hook.beats, d.hook.completed}
		}
	}
	return s
}

func (d *Drain) counted(tasks int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Tasks = tasks
}

// Viewer hears what is told from when it was opened to the end of the round.
type Viewer struct {
	d     *Drain
	lines chan string
	ended chan Result // gets one
}

// viewerLines is how many lines wait for a viewer; more are dropped.
const viewerLines = 256

func (d *Drain) viewer() *Viewer {
	v := &Viewer{d: d, lines: make(chan string, viewerLines), ended: make(chan Result, 1)}
	d.viewers[v] = struct{}{}
	return v
}

func (v *Viewer) end(r Result) { v.ended <- r }

// Close ends it early.
func (v *Viewer) Close() {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	delete(v.d.viewers, v)
}

// Watch calls line for each line until the round ends, and answers how it did.
func (v *Viewer) Watch(ctx context.Context, line func(string) error) (Result, error) {
	for {
		select {
		case <-ctx.Done():
			return Result{}, ctx.Err()
		case text := <-v.lines:
			if err := line(text); err != nil {
				return Result{}, err
			}
		case r := <-v.ended:
			for {
				select {
				case text := <-v.lines:
					if err := line(text); err != nil {
						return Result{}, err
					}
				default:
					return r, nil
				}
			}
		}
	}
}

// tell logs what happens and tells it to viewers.
func (d *Drain) tell(level slog.Level, text string, args ...any) {
	d.log.Log(context.Background(), level, text, args...)
	for i := 0; i+1 < len(args); i += 2 {
		if err, ok := args[i+1].(error); ok {
			text += ": " + err.Error()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Last = text
	for v := range d.viewers {
		select {
		case v.lines <- text:
		default: // who looks is slower than what there is to see
		}
	}
}

// once tells what would repeat itself.
func (d *Drain) once(key string, level slog.Level, text string, args ...any) {
	d.mu.Lock()
	said := d.said[key]
	d.said[key] = true
	d.mu.Unlock()
	if !said {
		d.tell(level, text, args...)
	}
}

// ByHand takes the instance out of service because somebody asked for it. Asked again, it looks again.
func (d *Drain) ByHand(wait time.Duration) *Viewer {
	now := time.Now()
	d.mu.Lock()
	v := d.viewer()
	if c := d.causes.of(Hand); c != nil {
		c.Began, c.End = now, now.Add(wait)
		d.added++
		d.result = nil
		d.noteCauses()
		d.change()
		d.mu.Unlock()
		return v
	}
	d.mu.Unlock()
	d.add(Cause{Kind: Hand, Began: now, End: now.Add(wait)})
	return v
}

// ErrNotOut says that there is nothing to undo.
var ErrNotOut = errors.New("this instance is not being taken out of service by fairlead")

// Undo takes the instance back into service, unless EC2 or Auto Scaling takes it out.
func (d *Drain) Undo() (*Viewer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.causes {
		if c.leaving() {
			return nil, errors.New("that cannot be undone: " + c.String())
		}
	}
	if len(d.causes) == 0 && !d.note.Out {
		return nil, ErrNotOut
	}
	if c := d.causes.of(Rebalance); c != nil {
		d.note.Ignored = c.Detail
	}
	v := d.viewer()
	d.causes, d.note.Causes = nil, nil
	d.note.Instance = d.instance // also where nobody could say yet which that is: who asks means this one
	d.keep()
	d.change()
	d.poke()
	return v, nil
}
