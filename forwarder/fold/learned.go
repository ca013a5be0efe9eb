package fold

// learned is what the lines so far tell about how the stream writes. It is part of the source's mark, so a few bytes.
type learned struct {
	// score is above 0 in a stream that prefixes its lines: only there does a line without prefix continue the one before.
	// A prefixed line raises it, a line that stands alone without prefix lowers it, so that one odd line does not turn the
	// reading of a whole stream. It starts at 0: a program that begins with a date is believed at once, one that has
	// written other lines before only after some.
	score int8
	// layouts of weak prefixes that begin events here.
	layouts [4]uint8
	// byLine: reports write every line by a call of its own (Rails 5.0.0), so their frames may be parted by other lines.
	byLine bool
	// strong: the stream has a prefix that nothing else looks like, so dates and tags in its messages mean nothing.
	strong bool
	// failed: the line before said that a request failed (Rails: "Completed 500 ..."). Its report comes next, unless another thread
	// is faster.
	failed bool
	// lang is the row of the language whose report came last, from 1; 0 for none yet.
	lang uint8
}

const (
	minScore  = -8
	maxScore  = 16
	sureScore = 4 // below it, one line that is surely an event of its own turns the reading
)

func (k *learned) prefixes() bool { return k.score > 0 }

func (k *learned) knows(sig uint8) bool {
	if sig == jobTag {
		sig = tagged
	}
	for _, l := range k.layouts {
		if l == sig {
			return true
		}
	}
	return false
}

// see notes a prefix that began an event.
func (k *learned) see(p *prefix) {
	if p.kind == strong {
		if !k.strong {
			k.strong, k.layouts = true, [4]uint8{}
		}
	} else if !k.strong && !k.knows(p.sig) {
		copy(k.layouts[1:], k.layouts[:3])
		k.layouts[0] = p.sig
	}
	if k.score < 0 && (p.kind == strong || p.sig == tagged || p.sig == javaUtil || p.sig == netConsole || p.sig == glog || p.sig == levelName) {
		k.score = 0 // no accident, whatever was before
	}
	k.score = min(k.score+2, maxScore)
}

// alone notes a line without prefix that does not continue anything.
func (k *learned) alone() {
	if k.score > minScore {
		k.score--
		k.unlearn()
	}
}

// contrary notes a line that is surely an event of its own and has no prefix.
func (k *learned) contrary() {
	if k.score < sureScore {
		k.score = min(k.score, 0)
	} else {
		k.score--
	}
	k.unlearn()
}

func (k *learned) unlearn() {
	if k.score == 0 {
		k.strong, k.layouts = false, [4]uint8{}
	}
}
