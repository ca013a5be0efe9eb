package fold

// Sidekiq reports a failed job in three calls of one thread, at the same severity: a JSON object with the job, "Class: message", and
// the frames. Lines of other threads come between; the thread id in the prefix tells them apart.

// fromThread says that the line's prefix names a thread, as only Sidekiq's does.
func (l *line) fromThread() bool { return l.pre.tid[1] > 0 && l.pre.sev != 'I' && l.pre.sev != 'D' }

// sidekiqTakes judges a line without prefix directly after a call. Lines of a message look like anything; they are joined because
// the stream prefixes its lines.
func sidekiqTakes(state uint8, l *line) (uint8, limit) {
	if l.shape == shapeFrame && state == sidekiqFrames {
		return sidekiqFrames, waits
	}
	return 0, never
}

func sidekiqCalls(state uint8, l *line) (uint8, bool) {
	switch {
	case state == sidekiqContext && l.shape == shapeColon:
		return sidekiqClass, true
	case state == sidekiqContext && l.shape == shapeFrame, // an error without class or message
		(state == sidekiqClass || state == sidekiqAlone) && l.shape == shapeFrame:
		return sidekiqFrames, true
	}
	return 0, false
}

// sidekiqPrefix reads on after the time (or from the start) in the layouts of Sidekiq's formatters, and makes p strong:
//
//	2026-11-21T09:43:05.276Z pid=1 tid=1a5 class=Resize jid=cc9a1b0afbdcdb71e43c7388 INFO: message
//	2017-11-21T09:43:05.276Z 1 TID-ovkzyz Resize JID-cc9a1b0afbdcdb71e43c7388 INFO: message
//	INFO  2026-11-21T09:43:05.276Z pid=1 tid=1a5 class=Resize jid=cc9a1b0afbdcdb71e43c7388: message
//
// The last is that of Sidekiq 7, with or without colours; there the severity was read before.
func sidekiqPrefix(b []byte, p *prefix, levelFirst bool) {
	i := int(p.msg)
	pid, tid := word(b, i, "pid="), span{}
	if pid[1] > 0 {
		tid = word(b, int(pid[1])+1, "tid=")
	} else if i < len(b) && isDigit(b[i]) {
		pid = word(b, i, "")
		tid = word(b, int(pid[1])+1, "TID-")
	}
	if tid[1] == 0 {
		return
	}
	// The context, word by word, up to the severity, or to the colon after the last word.
	i = int(tid[1]) + 1
	if levelFirst {
		i = int(tid[0])
	}
	for ; i < len(b); i++ {
		w := i
		for i < len(b) && b[i] != ' ' {
			i++
		}
		if i-w < 2 || b[i-1] != ':' || !levelFirst && (i-w < 4 || !isUpper(b[w:i-1])) {
			continue
		}
		sev := p.sev
		if !levelFirst {
			sev = b[w]
		} else if w == int(tid[0]) {
			tid[1]-- // the colon
		}
		msg := uint16(min(i+1, len(b)))
		*p = prefix{kind: strong, sev: sev, msg: msg, tag: msg, pid: pid, tid: tid}
		return
	}
}
