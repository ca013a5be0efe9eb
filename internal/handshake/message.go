package handshake

import (
	"errors"
	"fmt"

	"github.com/tinylib/msgp/msgp"
)

// MaxBytes bounds a message of the handshake: whoever sends more has not proved anything yet.
const MaxBytes = 8 << 10

// ErrPartial means that more bytes are needed.
var ErrPartial = errors.New("message of the handshake is not whole yet")

// Hello is the server's greeting. Its texts are random bytes, not characters.
type Hello struct {
	Nonce     string
	Auth      string // empty: no users are asked for
	Keepalive bool   // false: the server closes after each message
}

// Ping is the client's answer to it.
type Ping struct {
	Hostname string
	Salt     string
	Key      string // digest of the shared key
	Username string
	Password string // digest of the password
}

// Pong is the server's verdict.
type Pong struct {
	OK       bool
	Reason   string
	Hostname string
	Key      string // digest of the shared key
}

// Append appends the message to dst.
func (h Hello) Append(dst []byte) []byte {
	dst = msgp.AppendString(msgp.AppendArrayHeader(dst, 2), "HELO")
	dst = msgp.AppendMapHeader(dst, 3)
	dst = msgp.AppendBytes(msgp.AppendString(dst, "nonce"), []byte(h.Nonce))
	dst = msgp.AppendBytes(msgp.AppendString(dst, "auth"), []byte(h.Auth))
	return msgp.AppendBool(msgp.AppendString(dst, "keepalive"), h.Keepalive)
}

// Append appends the message to dst.
func (p Ping) Append(dst []byte) []byte {
	dst = msgp.AppendString(msgp.AppendArrayHeader(dst, 6), "PING")
	dst = msgp.AppendString(dst, p.Hostname)
	dst = msgp.AppendString(dst, p.Salt) // as out_forward does; a salt of ours is text
	dst = msgp.AppendString(dst, p.Key)
	dst = msgp.AppendString(dst, p.Username)
	return msgp.AppendString(dst, p.Password)
}

// Append appends the message to dst.
func (p Pong) Append(dst []byte) []byte {
	dst = msgp.AppendString(msgp.AppendArrayHeader(dst, 5), "PONG")
	dst = msgp.AppendBool(dst, p.OK)
	dst = msgp.AppendString(dst, p.Reason)
	dst = msgp.AppendString(dst, p.Hostname)
	return msgp.AppendString(dst, p.Key)
}

// ReadHello takes a HELO off p. Servers differ in what they put in: a key that is missing has its default.
func ReadHello(p []byte) (h Hello, rest []byte, err error) {
	have := len(p)
	defer func() { err = whole(err, have) }()
	if p, err = begin(p, "HELO", 2); err != nil {
		return h, nil, err
	}
	n, p, err := msgp.ReadMapHeaderBytes(p)
	if err != nil {
		return h, nil, err
	}
	h.Keepalive = true
	for ; n > 0; n-- {
		var key string
		if key, p, err = text(p); err != nil {
			return h, nil, err
		}
		switch key {
		case "nonce":
			h.Nonce, p, err = text(p)
		case "auth":
			h.Auth, p, err = text(p)
		case "keepalive":
			h.Keepalive, p, err = msgp.ReadBoolBytes(p)
		default:
			p, err = msgp.Skip(p)
		}
		if err != nil {
			return h, nil, err
		}
	}
	return h, p, nil
}

// ReadPing takes a PING off p.
func ReadPing(p []byte) (m Ping, rest []byte, err error) {
	have := len(p)
	defer func() { err = whole(err, have) }()
	if p, err = begin(p, "PING", 6); err != nil {
		return m, nil, err
	}
	p, err = texts(p, &m.Hostname, &m.Salt, &m.Key, &m.Username, &m.Password)
	return m, p, err
}

// ReadPong takes a PONG off p.
func ReadPong(p []byte) (m Pong, rest []byte, err error) {
	have := len(p)
	defer func() { err = whole(err, have) }()
	if p, err = begin(p, "PONG", 5); err != nil {
		return m, nil, err
	}
	if m.OK, p, err = msgp.ReadBoolBytes(p); err != nil {
		return m, nil, err
	}
	p, err = texts(p, &m.Reason, &m.Hostname, &m.Key)
	return m, p, err
}

// whole tells a message that is cut short from one that is wrong.
func whole(err error, have int) error {
	switch {
	case err == nil, errors.Is(err, ErrMalformed):
		return err
	case errors.Is(err, msgp.ErrShortBytes) && have < MaxBytes:
		return ErrPartial
	case errors.Is(err, msgp.ErrShortBytes):
		return fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxBytes)
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

func begin(p []byte, word string, elements uint32) ([]byte, error) {
	n, p, err := msgp.ReadArrayHeaderBytes(p)
	if err != nil {
		return nil, err
	}
	if n != elements {
		return nil, fmt.Errorf("%w: a list of %d, %s has %d", ErrMalformed, n, word, elements)
	}
	got, p, err := text(p)
	if err != nil {
		return nil, err
	}
	if got != word {
		return nil, fmt.Errorf("%w: %s, not %s", ErrMalformed, brief(got), word)
	}
	return p, nil
}

func texts(p []byte, to ...*string) ([]byte, error) {
	for _, t := range to {
		var err error
		if *t, p, err = text(p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// text takes a str or a bin off p, and nil as an empty one: implementations differ.
func text(p []byte) (string, []byte, error) {
	var b, rest []byte
	var err error
	switch msgp.NextType(p) {
	case msgp.NilType:
		rest, err = msgp.ReadNilBytes(p)
	case msgp.BinType:
		b, rest, err = msgp.ReadBytesZC(p)
	default:
		b, rest, err = msgp.ReadStringZC(p)
	}
	return string(b), rest, err
}
