package fluent

// next takes what is to be written next: a run of frames that go as they are, or one that has to be unpacked before. What
// follows in the batch from the queue is kept for the next call.
func (c *session) next(frames int, bytes int64) ([]Frame, error) {
	batch := c.rest
	if len(batch) == 0 {
		var err error
		if batch, err = c.fromQueue(frames, bytes); len(batch) == 0 {
			return nil, err
		}
	}
	n := 0
	for n < len(batch) {
		var e ending
		if err := batch[n].ending(&e); err != nil {
			n++ // launch will say it
			continue
		}
		form := e.form()
		if c.takes(form) {
			n++
			continue
		}
		if n == 0 {
			c.unpack(&batch[0], form)
			n = 1
		}
		break
	}
	c.rest = batch[n:]
	return batch[:n], nil
}

// takes tells whether a frame of that form goes to the receiver as it is. One of another form than is configured was sealed
// under a former configuration, which may have been changed because the receiver does not take it.
func (c *session) takes(form string) bool {
	return form == formNone || form == c.s.cfg.Compress && !c.p.packing.avoid()
}

func (c *session) unpack(f *Frame, form string) {
	plain, err := c.s.unpacker.unpack(f, form)
	if err != nil { // then it is for the receiver to judge
		c.s.log.Warn("frame cannot be unpacked and is sent as it is", "seq", f.Seq, "compressed", form, "err", err)
		return
	}
	f.Data = plain
}
