package forwarder

import (
	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/parse"
)

// event answers what an event of a host log says of itself: its time, its level and, appended to dst, its fields and those of an
// exception in it. The values are valid as long as the event and until h reads the next. fixed are the pairs that all events of the
// stream have. lag, kept by the caller, is how much earlier than ev.Time (when it was read, or journald got it) the last event that
// says its time did so: one that says none, as a goroutine dump, is as late. What has lain in the file for a day was not written now.
func (l *hostLog) event(dst []fluent.Field, h *parse.Host, ev *fold.Event, lag *int64, fixed *fluent.Fields) (t int64, level string, fields []fluent.Field) {
	level, fields = fieldsOf(dst, ev)
	if ev.Part > 1 || len(ev.Lines) == 0 || l.read == nil || !l.read(ev.Lines[0], ev.Time, h) {
		return ev.Time - *lag, level, fields
	}
	t = h.Time
	*lag = ev.Time - t
	if h.Level != "" {
		level = h.Level
	}
	known := len(fields)
	for _, f := range h.Fields {
		if !occupied(f.Key, fields[len(dst):known]) && !fixed.Has(f.Key) {
			fields = append(fields, fluent.Field{Key: f.Key, Value: f.Value})
		}
	}
	return t, level, fields
}

// occupied says whether a key is taken: the text has the value all the same.
func occupied(key string, taken []fluent.Field) bool {
	switch key {
	case "log", "source", "level", "part", "part_last", "_id", "container_id", "container_name", instanceField:
		return true
	}
	for i := range taken {
		if taken[i].Key == key {
			return true
		}
	}
	return false
}
