package fluent

import (
	"errors"
	"fmt"

	"github.com/tinylib/msgp/msgp"
)

// Tag returns the tag of a frame of which at least the beginning is given, as a part of it.
func Tag(begin []byte) (tag []byte, ok bool) {
	n, rest, err := msgp.ReadArrayHeaderBytes(begin)
	if err != nil || n != 3 {
		return nil, false
	}
	tag, _, err = msgp.ReadStringZC(rest)
	return tag, err == nil
}

// CheckFrame reports why frame is not one that a Builder may have made: a whole message in PackedForward mode that ends in
// its chunk id.
func CheckFrame(frame []byte) error {
	n, rest, err := msgp.ReadArrayHeaderBytes(frame)
	if err != nil || n != 3 {
		return errors.New("it is no message of tag, entries and options")
	}
	if _, rest, err = msgp.ReadStringZC(rest); err != nil {
		return fmt.Errorf("its tag: %w", err)
	}
	if _, rest, err = msgp.ReadBytesZC(rest); err != nil {
		return fmt.Errorf("its entries: %w", err)
	}
	if n, rest, err = msgp.ReadMapHeaderBytes(rest); err != nil {
		return fmt.Errorf("its options: %w", err)
	}
	for ; n > 0; n-- {
		var key, value []byte
		if key, rest, err = msgp.ReadMapKeyZC(rest); err != nil {
			return fmt.Errorf("its options: %w", err)
		}
		if n == 1 && string(key) == "chunk" {
			if value, rest, err = msgp.ReadStringZC(rest); err == nil && len(value) == IDBytes && len(rest) == 0 {
				return nil
			}
			break
		}
		if rest, err = msgp.Skip(rest); err != nil {
			return fmt.Errorf("its options: %w", err)
		}
	}
	return errors.New("it does not end in a chunk id")
}
