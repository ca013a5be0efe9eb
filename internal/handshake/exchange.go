package handshake

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Do is the client's side of the whole handshake on a fresh connection, which bounds its time. The server says nothing
// after its PONG until it is sent a message, so no byte of what follows is taken.
func (c Client) Do(conn io.ReadWriter) (Hello, error) {
	var h Hello
	buf, err := next(conn, nil, func(p []byte) (rest []byte, err error) { h, rest, err = ReadHello(p); return })
	if errors.Is(err, ErrMalformed) {
		return h, fmt.Errorf("%w (%w)", ErrNoHello, err)
	}
	if err != nil {
		return h, fmt.Errorf("wait for the receiver's HELO: %w", err)
	}
	salt := hex.EncodeToString(random(16))
	if _, err := conn.Write(c.Ping(h, salt).Append(nil)); err != nil {
		return h, fmt.Errorf("send PING: %w", err)
	}
	var p Pong
	buf, err = next(conn, buf, func(b []byte) (rest []byte, err error) { p, rest, err = ReadPong(b); return })
	if err != nil {
		return h, fmt.Errorf("wait for the receiver's PONG: %w", err)
	}
	if len(buf) > 0 && p.OK {
		return h, fmt.Errorf("%w: %d bytes behind PONG", ErrMalformed, len(buf))
	}
	return h, c.Check(h, salt, p)
}

// Do is the server's side of the whole handshake. It answers the client's PING, what was already read of the messages that
// follow it, and a *RefusedError if the client was refused; whatever the error, the connection is then to be closed.
func (s Server) Do(conn io.ReadWriter) (p Ping, rest []byte, err error) {
	h := s.Hello(string(random(16)), string(random(16)))
	if _, err := conn.Write(h.Append(nil)); err != nil {
		return p, nil, fmt.Errorf("send HELO: %w", err)
	}
	rest, err = next(conn, nil, func(b []byte) (rest []byte, err error) { p, rest, err = ReadPing(b); return })
	var verdict Pong
	switch {
	case errors.Is(err, ErrMalformed):
		verdict.Reason = "invalid ping message"
	case err != nil:
		return p, nil, fmt.Errorf("wait for the client's PING: %w", err)
	default:
		verdict = s.Answer(h, p)
	}
	if _, werr := conn.Write(verdict.Append(nil)); err == nil && werr != nil {
		err = fmt.Errorf("send PONG: %w", werr)
	}
	if err == nil && !verdict.OK {
		err = &RefusedError{Reason: brief(verdict.Reason)}
	}
	return p, rest, err
}

// next reads until take finds a whole message in what was read, and returns what is behind it.
func next(r io.Reader, have []byte, take func(p []byte) (rest []byte, err error)) ([]byte, error) {
	buf := append(make([]byte, 0, MaxBytes), have...)
	for {
		if len(buf) > 0 {
			rest, err := take(buf)
			if !errors.Is(err, ErrPartial) {
				return rest, err
			}
		}
		n, err := r.Read(buf[len(buf):MaxBytes])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}
