package collector

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxJoined bounds a line that the engine has cut into pieces.
const maxJoined = 1 << 20

// jsonLog reads Docker's json-file as text. The engine cuts a line into pieces of 16 KiB: they are joined, because a secret may lie over
// the cut. What is no record passes as it is.
type jsonLog struct {
	r     io.ReadCloser
	b     *bufio.Reader
	tail  bool      // the beginning of the log is missing
	since time.Time // what is older is left out; zero: nothing is
	have  []byte
	err   error
	of    map[string]*pieces // by stream
}

// pieces are those of a line that is not at its end.
type pieces struct {
	began time.Time
	text  []byte
	whole bool // it is known where a line begins
}

func newJSONLog(r io.ReadCloser, tail bool, since time.Time) *jsonLog {
	return &jsonLog{r: r, b: bufio.NewReaderSize(r, 256<<10), tail: tail, since: since, of: map[string]*pieces{}}
}

func (j *jsonLog) Read(p []byte) (int, error) {
	for len(j.have) == 0 {
		if j.err != nil {
			return 0, j.err
		}
		j.have = j.next(j.have[:0])
	}
	n := copy(p, j.have)
	j.have = j.have[n:]
	return n, nil
}

// next appends what the next line of the file gives.
func (j *jsonLog) next(out []byte) []byte {
	line, err := j.b.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		j.err = err
		if err == io.EOF { // what was read before anything else is no whole line
			out = j.line(out, line)
			for stream, p := range j.of {
				out = j.end(out, stream, p)
			}
		}
		return out
	}
	return j.line(out, line)
}

func (j *jsonLog) line(out, line []byte) []byte {
	if len(line) == 0 {
		return out
	}
	var rec struct {
		Log    *string   `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal(line, &rec); err != nil || rec.Log == nil || len(j.of) > 8 { // cut, zeros after a crash, another's
		return append(out, line...)
	}
	p := j.of[rec.Stream]
	if p == nil {
		p = &pieces{whole: !j.tail}
		j.of[rec.Stream] = p
	}
	text := []byte(*rec.Log)
	if len(p.text) == 0 {
		p.began = rec.Time
	}
	if room := maxJoined - len(p.text); p.whole {
		p.text = append(p.text, text[:min(len(text), room)]...)
	}
	if bytes.HasSuffix(text, []byte("\n")) {
		out = j.end(out, rec.Stream, p)
		p.whole = true
	}
	return out
}

// end appends the line that the pieces make.
func (j *jsonLog) end(out []byte, stream string, p *pieces) []byte {
	if p.whole && len(p.text) > 0 && !p.began.Before(j.since) {
		out = fmt.Appendf(out, "%s %s %s\n", p.began.Format(time.RFC3339Nano), stream, bytes.TrimSuffix(p.text, []byte("\n")))
	}
	p.text = p.text[:0]
	return out
}

func (j *jsonLog) Close() error { return j.r.Close() }

// demultiplex takes the engine's framing of standard output and error off; a terminal's stream has none. Pieces of a line, each with the
// time in front, are joined.
func demultiplex(text []byte) []byte {
	var out bytes.Buffer
	var open [3][]byte // by stream: the line that has no end yet
	cut := false
	for rest := text; len(rest) > 0; {
		if len(rest) < 8 || rest[0] > 2 || rest[1] != 0 || rest[2] != 0 || rest[3] != 0 {
			if out.Len() == 0 {
				return text
			}
			cut = true
			break
		}
		stream := rest[0]
		n := int(binary.BigEndian.Uint32(rest[4:]))
		rest = rest[8:]
		if cut = n > len(rest); cut {
			break
		}
		piece := rest[:n]
		rest = rest[n:]
		if len(open[stream]) > 0 {
			piece = piece[bytes.IndexByte(piece, ' ')+1:] // the time
		}
		open[stream] = append(open[stream], piece...)
		if bytes.HasSuffix(piece, []byte("\n")) {
			out.Write(open[stream])
			open[stream] = open[stream][:0]
		}
	}
	for _, line := range open {
		if len(line) > 0 && !cut {
			out.Write(append(line, '\n'))
		}
	}
	return out.Bytes()
}
