package fluent

import (
	"errors"
	"fmt"

	"github.com/tinylib/msgp/msgp"
)

const (
	maxAnswerBytes = 4096                // bounds one answer of a receiver
	ackBytes       = 1 + 4 + 2 + IDBytes // the ack of a frame: a map of "ack" and the id
)

var (
	errPartial   = errors.New("answer is not whole yet")
	errNoAck     = errors.New("the receiver answered something that is no ack: is this a Fluentd forward port?")
	errHandshake = &setupError{errors.New("the receiver wants the handshake of its <security> section: set forward.shared_key to its shared_key")}
	errTLS       = &setupError{errors.New("the receiver speaks TLS: write its address in forward.to with tls:// before it")}
)

// nextAck takes the first ack off p: a map with the key "ack". The id is empty for what may be ignored. errPartial means
// that more bytes are needed. Both results are parts of p.
func nextAck(p []byte) (id, rest []byte, err error) {
	switch msgp.NextType(p) {
	case msgp.NilType:
		return nil, p[1:], nil
	case msgp.MapType:
		id, rest, err = ackMap(p)
	case msgp.ArrayType:
		err = helo(p)
	default:
		if p[0] == 0x15 && len(p) > 1 && p[1] == 3 { // an alert
			return nil, nil, errTLS
		}
		return nil, nil, errNoAck
	}
	if errors.Is(err, msgp.ErrShortBytes) {
		return nil, p, errPartial
	}
	return id, rest, err
}

func ackMap(p []byte) (id, rest []byte, err error) {
	n, p, err := msgp.ReadMapHeaderBytes(p)
	if err != nil {
		return nil, nil, err
	}
	for ; n > 0; n-- {
		var key []byte
		if key, p, err = msgp.ReadMapKeyZC(p); err != nil {
			return nil, nil, noAck(err)
		}
		switch {
		case string(key) != "ack":
			p, err = msgp.Skip(p)
		case msgp.NextType(p) == msgp.BinType:
			id, p, err = msgp.ReadBytesZC(p)
		default:
			id, p, err = msgp.ReadStringZC(p)
		}
		if err != nil {
			return nil, nil, noAck(err)
		}
	}
	if len(id) == 0 {
		return nil, nil, errNoAck
	}
	return id, p, nil
}

// helo tells the greeting of a receiver with a <security> section from noise, for the error's sake.
func helo(p []byte) error {
	_, p, err := msgp.ReadArrayHeaderBytes(p)
	if err != nil {
		return err
	}
	word, _, err := msgp.ReadStringZC(p)
	if err != nil {
		return noAck(err)
	}
	if string(word) == "HELO" {
		return errHandshake
	}
	return errNoAck
}

func noAck(err error) error {
	if errors.Is(err, msgp.ErrShortBytes) {
		return err
	}
	return fmt.Errorf("%w (%w)", errNoAck, err)
}
