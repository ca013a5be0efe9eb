package fluent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/tinylib/msgp/msgp"
)

// A frame of ours ends with its options in one of two ways:
//
//	{"size": uint32, "chunk": id}
//	{"size": uint32, "compressed": "gzip" or "zstd", "chunk": id}
//
// so its last bytes tell both its chunk id and the form of its entries.
const (
	formOption = "\xaacompressed\xa4"
	idOption   = "\xa5chunk\xd9\x20"
	tailBytes  = len(formOption) + 4 + len(idOption) + IDBytes
)

// ending is the end of a frame.
type ending [tailBytes]byte

func (e *ending) id() []byte { return e[tailBytes-IDBytes:] }

// form is the form of the frame's entries. Nothing else in a frame could look like it: where it stands, a frame that is not
// compressed has part of its entries, and its size right before the id.
func (e *ending) form() string {
	const at = len(formOption)
	if string(e[:at]) != formOption || string(e[at+4:at+4+len(idOption)]) != idOption {
		return formNone
	}
	switch form := string(e[at : at+4]); form {
	case formGzip, formZstd:
		return form
	}
	return formNone
}

// ending reads the end of the frame.
func (f *Frame) ending(e *ending) error {
	n := f.size() - int64(tailBytes)
	if n < 0 {
		return fmt.Errorf("frame %d has %d bytes, too few for its tag, entries and chunk id", f.Seq, f.size())
	}
	if f.Data != nil {
		copy(e[:], f.Data[n:])
		return nil
	}
	if _, err := f.File.ReadAt(e[:], f.Off+n); err != nil {
		return fmt.Errorf("read chunk id of frame %d: %w", f.Seq, err)
	}
	return nil
}

// maxUnpacked bounds what a frame may grow to: receivers take no more either.
const maxUnpacked = 256 << 20

// keepUnpacked is the largest buffer that is kept for the next frame.
const keepUnpacked = 1 << 20

// unpacker undoes the compression of frames that a receiver does not take. It belongs to the sender's goroutine.
type unpacker struct {
	packed []byte // a frame as it lies in the file
	out    []byte // the frame unpacked
	zr     *gzip.Reader
	zd     *zstd.Decoder
}

// unpack makes of a compressed frame the same one uncompressed, with its chunk id: the events are the same. The result is
// valid until the next call.
func (u *unpacker) unpack(f *Frame, form string) ([]byte, error) {
	frame := f.Data
	if frame == nil {
		if int64(cap(u.packed)) < f.Len {
			u.packed = make([]byte, f.Len)
		}
		frame = u.packed[:f.Len]
		if _, err := f.File.ReadAt(frame, f.Off); err != nil {
			return nil, fmt.Errorf("read frame %d: %w", f.Seq, err)
		}
	}
	body, rest, err := entriesOf(frame)
	if err != nil {
		return nil, fmt.Errorf("frame %d: %w", f.Seq, err)
	}
	const size = "\xa4size\xce"
	if len(rest) != 1+len(size)+4+tailBytes || rest[0] != 0x83 || string(rest[1:1+len(size)]) != size {
		return nil, fmt.Errorf("frame %d has other options than ours", f.Seq)
	}
	if cap(u.out) > keepUnpacked {
		u.out = nil
	}
	head := len(frame) - len(body) - len(rest) // up to the entries, their length in its last four bytes
	u.out = append(u.out[:0], frame[:head]...)
	switch form {
	case formGzip:
		err = u.gunzip(body)
	case formZstd:
		err = u.unzstd(body)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack frame %d: %w", f.Seq, err)
	}
	binary.BigEndian.PutUint32(u.out[head-4:], uint32(len(u.out)-head))
	u.out = append(u.out, 0x82)
	u.out = append(u.out, rest[1:1+len(size)+4]...)
	u.out = append(u.out, rest[len(rest)-len(idOption)-IDBytes:]...)
	return u.out, nil
}

// entriesOf takes a frame apart.
func entriesOf(frame []byte) (body, options []byte, err error) {
	n, p, err := msgp.ReadArrayHeaderBytes(frame)
	if err != nil || n != 3 {
		return nil, nil, errors.Join(errors.New("no message of three elements"), err)
	}
	if _, p, err = msgp.ReadStringZC(p); err != nil {
		return nil, nil, err
	}
	if len(p) == 0 || p[0] != 0xc6 {
		return nil, nil, errors.New("its entries are no bin32")
	}
	return msgp.ReadBytesZC(p)
}

func (u *unpacker) gunzip(body []byte) error {
	var err error
	if u.zr == nil {
		u.zr, err = gzip.NewReader(bytes.NewReader(body))
	} else {
		err = u.zr.Reset(bytes.NewReader(body))
	}
	if err != nil {
		return err
	}
	b := bytes.NewBuffer(u.out)
	n, err := b.ReadFrom(io.LimitReader(u.zr, maxUnpacked+1))
	if u.out = b.Bytes(); err == nil && n > maxUnpacked {
		err = fmt.Errorf("more than %d bytes", maxUnpacked)
	}
	return err
}

func (u *unpacker) unzstd(body []byte) error {
	var err error
	if u.zd == nil {
		u.zd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxUnpacked))
	}
	if err == nil {
		u.out, err = u.zd.DecodeAll(body, u.out)
	}
	return err
}
