package forwarder

import "github.com/prometheus/client_golang/prometheus"

// Why bytes, files or events were lost.
const (
	lostRotatedAway = "rotated_away"
	lostTruncated   = "truncated"
	lostDetached    = "max_detached_bytes"
	lostDamaged     = "damaged_archive"
	lostStop        = "stop"
	lostDropOldest  = "drop_oldest"
	lostSpoolDamage = "spool_damage"
	lostJournal     = "journal_message"
	lostVolume      = "max_bytes"
)

// metrics are those of the reading loop and of the books. The loop counts in plain fields and adds them up once a turn.
type metrics struct {
	bytes, lines, events, folded, forced, broken, nulBytes, badBytes, truncations, sourcesGone int64

	read int64 // events, ever

	readBytes, readLines, foldEvents, foldLines, foldForced prometheus.Counter
	brokenLines, nulSkipped, replaced, truncated, ended     prometheus.Counter
	repeated, backfilled, freedBytes                        prometheus.Counter
	journalEntries, journalCopies, hostCopies               prometheus.Counter
	journalLost, journalSuppressed                          prometheus.Counter
	files, lag, detached                                    prometheus.Gauge
	lostFiles, lostBytes                                    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		reg.MustRegister(g)
		return g
	}
	byReason := func(name, help string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"reason"})
		reg.MustRegister(v)
		for _, r := range []string{lostRotatedAway, lostTruncated, lostDetached, lostDamaged, lostStop, lostJournal, lostVolume} {
			v.WithLabelValues(r)
		}
		return v
	}
	return &metrics{
		readBytes:         counter("fairlead_tail_read_bytes_total", "Bytes of log files taken."),
		readLines:         counter("fairlead_tail_lines_total", "Lines of log files taken."),
		brokenLines:       counter("fairlead_tail_broken_lines_total", "Lines of json-files that are no such record and were passed on as text."),
		nulSkipped:        counter("fairlead_tail_nul_bytes_total", "NUL bytes skipped, as a power loss leaves them."),
		truncated:         counter("fairlead_tail_truncations_total", "Log files found truncated or rewritten."),
		ended:             counter("fairlead_tail_sources_ended_total", "Sources read to their end after they were deleted."),
		files:             gauge("fairlead_tail_files", "Log files held open."),
		lag:               gauge("fairlead_tail_lag_bytes", "Bytes in log files that are still to be read."),
		detached:          gauge("fairlead_tail_detached_bytes", "Disk space taken by deleted log files that are held open."),
		foldEvents:        counter("fairlead_fold_events_total", "Events made of lines."),
		foldLines:         counter("fairlead_fold_folded_lines_total", "Records joined to the event before them."),
		foldForced:        counter("fairlead_fold_forced_total", "Events forced out in parts because the folds held too much."),
		replaced:          counter("fairlead_record_replaced_bytes_total", "Bytes that were not UTF-8 and became U+FFFD."),
		repeated:          counter("fairlead_listen_repeated_total", "Lines that Forward clients sent again after a connection broke, dropped because the spool has them."),
		backfilled:        counter("fairlead_listen_backfilled_total", "Lines that Docker's fluentd driver did not deliver while fairlead was away, taken from the engine's cache."),
		journalEntries:    counter("fairlead_journal_entries_total", "Entries of the journal read."),
		journalCopies:     counter("fairlead_journal_copies_total", "Entries of the journal left out because a log file has the same lines."),
		hostCopies:        counter("fairlead_host_copies_total", "Lines of /var/log/messages left out because the journal or another log file has them."),
		journalLost:       counter("fairlead_journal_lost_cursors_total", "Times the place in the journal was gone, so that entries behind it may never have been read."),
		journalSuppressed: counter("fairlead_journal_suppressed_messages_total", "Messages of the units read that journald says it dropped, because they came too fast."),
		freedBytes:        counter("fairlead_tail_freed_bytes_total", "Bytes on disk freed of log files that sources.files has fairlead look after."),
		lostFiles:         byReason("fairlead_lost_files_total", "Log files of which a part was never read, of unknown size or as counted in fairlead_lost_bytes_total."),
		lostBytes:         byReason("fairlead_lost_bytes_total", "Bytes of log files that were never read."),
	}
}

// flush adds up what the loop counted.
func (m *metrics) flush() {
	m.read += m.events
	for _, c := range []struct {
		to *prometheus.Counter
		n  *int64
	}{
		{&m.readBytes, &m.bytes}, {&m.readLines, &m.lines}, {&m.foldEvents, &m.events}, {&m.foldLines, &m.folded},
		{&m.foldForced, &m.forced}, {&m.brokenLines, &m.broken}, {&m.nulSkipped, &m.nulBytes}, {&m.replaced, &m.badBytes},
		{&m.truncated, &m.truncations}, {&m.ended, &m.sourcesGone},
	} {
		if *c.n > 0 {
			(*c.to).Add(float64(*c.n))
			*c.n = 0
		}
	}
}
