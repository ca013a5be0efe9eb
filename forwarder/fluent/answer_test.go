package fluent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

// An ack is only what the protocol says it is, whatever else a peer may send.
func FuzzNextAck(f *testing.F) {
	f.Add([]byte("\x81\xa3ack\xd9\x200123456789abcdef0123456789abcdef\x81\xa3ack\xa1x"))
	f.Add([]byte("\x95\xa4HELO\xc0\xc0"))
	f.Add(binary.BigEndian.AppendUint32([]byte{0xdf}, 1<<31))
	f.Fuzz(func(t *testing.T, p []byte) {
		whole := collect(p)
		// The same acks come out however the bytes are cut.
		var parts []string
		var pending []byte
		for _, b := range p {
			pending = append(pending, b)
			for len(pending) > 0 {
				id, rest, err := nextAck(pending)
				if errors.Is(err, errPartial) {
					break
				}
				if err != nil {
					if fmt.Sprint(parts) != fmt.Sprint(whole) {
						t.Fatalf("byte by byte %q, at once %q", parts, whole)
					}
					return
				}
				if len(id) > 0 {
					parts = append(parts, string(id))
				}
				pending = append([]byte(nil), rest...)
			}
		}
		if fmt.Sprint(parts) != fmt.Sprint(whole) {
			t.Fatalf("byte by byte %q, at once %q", parts, whole)
		}
	})
}

func collect(p []byte) (ids []string) {
	for len(p) > 0 {
		id, rest, err := nextAck(p)
		if err != nil {
			break
		}
		if len(id) > 0 {
			ids = append(ids, string(id))
		}
		p = rest
	}
	return ids
}
