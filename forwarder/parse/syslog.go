package parse

import (
	"bytes"
	"time"
)

// Syslog reads a line of /var/log/messages:
//
//	May  1 10:00:00 ip-10-0-1-2 dockerd[1234]: text
//	2026-05-01T10:00:00.123456+00:00 ip-10-0-1-2 dockerd: text
//
// The first form has no year and no zone: it is in the zone given, and the newest such time that is not more than a day after near
// (Unix ns). What the text says itself of its level, its fields and, more exactly, its time (Logger), counts.
func Syslog(line []byte, near int64, zone *time.Location, h *Host) bool {
	h.reset()
	line = bytes.TrimRight(line, "\r")
	t, rest, ok := syslogTime(line, near, zone)
	if !ok {
		return false
	}
	host, rest, ok := cutBlank(rest)
	if !ok {
		return false
	}
	ident, pid, text := syslogIdent(rest)
	if Logger(text, h) {
		if d := h.Time - t; d < -int64(time.Hour) || d > int64(time.Hour) {
			h.Time = t
		}
	} else {
		h.Time = t
		h.add("message", text)
	}
	h.column("ident", ident)
	h.column("pid", pid)
	h.column("hostname", host)
	return true
}

// SyslogIdent is who wrote a line of /var/log/messages, and what; nil where it does not say.
func SyslogIdent(line []byte) (ident, text []byte) {
	n := 16
	if len(line) < n || line[3] != ' ' {
		if n = bytes.IndexByte(line, ' ') + 1; n < 20 {
			return nil, nil
		}
	}
	_, rest, ok := cutBlank(line[n:])
	if !ok {
		return nil, nil
	}
	ident, _, text = syslogIdent(rest)
	return ident, text
}

// syslogIdent reads "ident[pid]: text". What has another form is text.
func syslogIdent(b []byte) (ident, pid, text []byte) {
	i := bytes.IndexByte(b, ':')
	if i <= 0 || bytes.IndexByte(b[:i], ' ') >= 0 {
		return nil, nil, b
	}
	ident, text = b[:i], bytes.TrimPrefix(b[i+1:], []byte(" "))
	if n := len(ident); ident[n-1] == ']' {
		if open := bytes.LastIndexByte(ident, '['); open > 0 {
			return ident[:open], ident[open+1 : n-1], text
		}
	}
	return ident, nil, text
}

var months = [...]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

func syslogTime(line []byte, near int64, zone *time.Location) (t int64, rest []byte, ok bool) {
	if len(line) < 16 {
		return 0, nil, false
	}
	if isDigit(line[0]) {
		stamp, rest, ok := cutBlank(line)
		if !ok || len(stamp) < 20 {
			return 0, nil, false
		}
		t, ok = Time(stamp)
		return t, rest, ok
	}
	month := 0
	for i, m := range months {
		if string(line[:3]) == m {
			month = i + 1
		}
	}
	if month == 0 || line[3] != ' ' || line[6] != ' ' || line[9] != ':' || line[12] != ':' || line[15] != ' ' {
		return 0, nil, false
	}
	day := num(bytes.TrimLeft(line[4:6], " "))
	hour, minute, sec := num(line[7:9]), num(line[10:12]), num(line[13:15])
	if day < 1 || day > 31 || uint(hour) > 23 || uint(minute) > 59 || uint(sec) > 60 {
		return 0, nil, false
	}
	latest := near + int64(24*time.Hour)
	for year := time.Unix(0, latest).In(zone).Year(); ; year-- {
		d := time.Date(year, time.Month(month), day, hour, minute, sec, 0, zone)
		if d.UnixNano() <= latest && d.Day() == day { // a 29th of February asks for its year
			return d.UnixNano(), line[16:], true
		}
		if d.Year() < time.Unix(0, near).Year()-8 {
			return 0, nil, false
		}
	}
}
