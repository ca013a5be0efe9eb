package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A record, big endian:
//
//	offset  size  field
//	0       2     magic FA 1D (FA occurs in no valid UTF-8, so log text cannot look like a record)
//	2       1     version, 1
//	3       1     flags: bit 0 base (the snapshot a life starts with), bit 1 input record
//	4       4     CRC-32C of bytes 0 to 4 and of everything from offset 8 to the end of the record
//	8       8     sequence number
//	16      4     marks length m
//	20      4     frame length n (0: the record is a snapshot of all marks)
//	24      4     events in the frame
//	28      4     reserved, 0
//	32      8     time sealed, Unix milliseconds
//	40      n     frame
//	40+n    m     marks
//
// The CRC covers the flags too: with bit 1 flipped by a bad disk, a frame would never be sent.
//
// A mark is a key length (2 bytes), a value length (4 bytes), the key and the value. An empty value forgets the key.
const (
	// HeaderBytes is the room a Record's Buf leaves before its frame.
	HeaderBytes = 40
	// IDBytes is the length of the chunk id, the last bytes of every frame.
	IDBytes = 32

	magic0, magic1 = 0xFA, 0x1D
	version        = 1

	flagBase  = 1 << 0
	flagInput = 1 << 1

	markHeaderBytes = 6
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Record is one frame on its way into the spool, with the marks that become true with it.
type Record struct {
	Buf    []byte // HeaderBytes of room, then the frame, then its marks (AppendMark); Append fills header and id in place
	Frame  int    // bytes of the frame
	Events int    // events in the frame
	Input  bool   // an input record: kept as received and read back by Inputs, never handed out by the Reader
	Seq    uint64 // set by Append

	Replayed bool // the events were counted before: they are not read, nor recovered
}

// AppendMark appends one mark to dst. The key is not empty. An empty value makes the spool forget the key.
func AppendMark(dst []byte, key string, value []byte) []byte {
	if key == "" || len(key) > 1<<16-1 || int64(len(value)) > 1<<32-1 {
		panic("spool: mark without a key, or too large")
	}
	return appendMark(dst, key, value)
}

func appendMark(dst []byte, key string, value []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(key)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
	dst = append(dst, key...)
	return append(dst, value...)
}

var errMarks = errors.New("marks are malformed")

// eachMark calls f for each mark in b. Key and value are valid during the call.
func eachMark(b []byte, f func(key, value []byte)) error {
	for len(b) > 0 {
		if len(b) < markHeaderBytes {
			return errMarks
		}
		k := int64(binary.BigEndian.Uint16(b))
		v := int64(binary.BigEndian.Uint32(b[2:]))
		if int64(len(b)) < markHeaderBytes+k+v {
			return errMarks
		}
		b = b[markHeaderBytes:]
		f(b[:k:k], b[k:k+v:k+v])
		b = b[k+v:]
	}
	return nil
}

// header is the decoded head of a record.
type header struct {
	flags  byte
	crc    uint32
	seq    uint64
	marks  uint32
	frame  uint32
	events uint32
	sealed int64
}

// size is the length of the whole record.
func (h *header) size() int64 { return HeaderBytes + int64(h.frame) + int64(h.marks) }

func (h *header) snapshot() bool { return h.frame == 0 }
func (h *header) base() bool     { return h.flags&flagBase != 0 }
func (h *header) input() bool    { return h.flags&flagInput != 0 }

// decodeHeader reads the first HeaderBytes of b. It reports false for what no writer of this version can have written.
func decodeHeader(b []byte) (header, bool) {
	_ = b[HeaderBytes-1]
	h := header{
		flags:  b[3],
		crc:    binary.BigEndian.Uint32(b[4:]),
		seq:    binary.BigEndian.Uint64(b[8:]),
		marks:  binary.BigEndian.Uint32(b[16:]),
		frame:  binary.BigEndian.Uint32(b[20:]),
		events: binary.BigEndian.Uint32(b[24:]),
		sealed: int64(binary.BigEndian.Uint64(b[32:])),
	}
	ok := b[0] == magic0 && b[1] == magic1 && b[2] == version &&
		h.flags&^(flagBase|flagInput) == 0 && binary.BigEndian.Uint32(b[28:]) == 0 &&
		(h.frame == 0 || h.flags&flagBase == 0) && (h.frame > 0 || h.flags&flagInput == 0)
	return h, ok
}

// sealHeader writes the header of the whole record rec, whose frame and marks are in place, and its checksum.
func sealHeader(rec []byte, h header) {
	rec[0], rec[1], rec[2], rec[3] = magic0, magic1, version, h.flags
	binary.BigEndian.PutUint64(rec[8:], h.seq)
	binary.BigEndian.PutUint32(rec[16:], h.marks)
	binary.BigEndian.PutUint32(rec[20:], h.frame)
	binary.BigEndian.PutUint32(rec[24:], h.events)
	binary.BigEndian.PutUint32(rec[28:], 0)
	binary.BigEndian.PutUint64(rec[32:], uint64(h.sealed))
	binary.BigEndian.PutUint32(rec[4:], checksum(rec))
}

// checksum is the CRC of the whole record rec.
func checksum(rec []byte) uint32 {
	return crc32.Update(crc32.Checksum(rec[:4], castagnoli), castagnoli, rec[8:])
}

const hexDigits = "0123456789abcdef"

// putID writes the chunk id: the life's random number, then the sequence number, in hex.
func putID(dst []byte, life, seq uint64) {
	_ = dst[IDBytes-1]
	for i := 15; i >= 0; i-- {
		dst[i], dst[16+i] = hexDigits[life&15], hexDigits[seq&15]
		life >>= 4
		seq >>= 4
	}
}
