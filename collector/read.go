package collector

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// readWithin is how long one read of a file may take. On a dead network file system it takes for ever, and nothing can end it.
const readWithin = 3 * time.Second

// patiently does what may hang in the kernel, and answers errTimedOut if it does: then work goes on in a goroutine that nobody waits for.
func patiently[T any](ctx context.Context, within time.Duration, work func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	ch := make(chan answer, 1)
	go func() {
		var a answer
		defer func() { ch <- a }()
		defer recovered(&a.err)
		a.value, a.err = work()
	}()
	t := time.NewTimer(within)
	defer t.Stop()
	var none T
	select {
	case a := <-ch:
		return a.value, a.err
	case <-t.C:
		return none, fmt.Errorf("%w (a file system that does not answer)", errTimedOut)
	case <-ctx.Done():
		return none, fmt.Errorf("%w (the bundle ends)", errTimedOut)
	}
}

// recovered makes an error of a panic: a fault of ours in one source must not cost the others, on a host that is broken already.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("a fault of fairlead's own: %v", r)
	}
}

// hostFile reads a file of the host; each read is given up when it takes too long.
type hostFile struct {
	ctx    context.Context
	f      *os.File
	size   int64
	at     time.Time // modified
	within time.Duration
	buf    []byte // of the read under way: lost with it
	have   []byte
}

// openFlags keep the open of a FIFO, which is refused then, from waiting for a writer.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY

// openFile opens a regular file.
func openFile(ctx context.Context, path string) (*hostFile, error) {
	return opened(ctx, func() (*os.File, error) { return os.OpenFile(path, openFlags, 0) })
}

// openBelow opens a file of a folder in which containers may write: no link leads out of it.
func openBelow(ctx context.Context, dir, name string) (*hostFile, error) {
	return opened(ctx, func() (*os.File, error) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		return root.OpenFile(name, openFlags|syscall.O_NOFOLLOW, 0)
	})
}

func opened(ctx context.Context, open func() (*os.File, error)) (*hostFile, error) {
	return patiently(ctx, readWithin, func() (*hostFile, error) {
		f, err := open()
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("not a regular file")
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return &hostFile{ctx: ctx, f: f, size: info.Size(), at: info.ModTime(), within: readWithin}, nil
	})
}

func (h *hostFile) Read(p []byte) (int, error) {
	if len(h.have) == 0 {
		if h.buf == nil {
			h.buf = make([]byte, 64<<10)
		}
		buf := h.buf
		n, err := patiently(h.ctx, h.within, func() (int, error) { return h.f.Read(buf) })
		if errors.Is(err, errTimedOut) {
			h.buf, h.f = nil, nil // they are the stuck read's now
			return 0, err
		}
		if n == 0 && err != nil {
			return 0, err
		}
		h.have = buf[:n]
	}
	n := copy(p, h.have)
	h.have = h.have[n:]
	return n, nil
}

// Close is none for a file whose read is stuck: it would wait for it.
func (h *hostFile) Close() {
	if h.f != nil {
		h.f.Close()
	}
}

// readFile answers a small file.
func readFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	f, err := openFile(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		return text[:bytes.LastIndexByte(text[:limit], '\n')+1], fmt.Errorf("%w: the first %d of %d bytes", errPart, limit, f.size)
	}
	return text, err
}

// maxZip bounds an archive that has to be in memory to be opened.
const maxZip = 16 << 20

var errBinary = errors.New("left out: not text")

// text answers what the file holds as text, at most its last limit bytes; of what is packed, the first ones, unpacked. note says what is missing.
func (h *hostFile) text(name string, limit int64) (r io.Reader, note string, err error) {
	head := make([]byte, 6)
	n, err := io.ReadFull(h, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	head = head[:n]
	whole := io.MultiReader(bytes.NewReader(head), h)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		r, err = gzip.NewReader(whole)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		r, err = zstd.NewReader(whole, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(32<<20))
	case bytes.HasPrefix(head, []byte("BZh")):
		r = bzip2.NewReader(whole)
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		r, err = unzip(whole)
	case bytes.HasPrefix(head, []byte("\xfd7zXZ")), strings.HasSuffix(name, ".lz4"), strings.HasSuffix(name, ".7z"), strings.HasSuffix(name, ".db"):
		return nil, "", fmt.Errorf("%w, and not a kind that can be looked into", errBinary)
	default:
		if h.size > limit {
			_, err := patiently(h.ctx, h.within, func() (int64, error) { return h.f.Seek(h.size-limit, io.SeekStart) })
			if err != nil {
				return nil, "", err
			}
			h.have = nil
			note = fmt.Sprintf("the last %d of %d bytes", limit, h.size)
			b := bufio.NewReaderSize(&bounds{h, limit, errGrown}, 64<<10)
			return textOnly(skipLine(b), note)
		}
		return textOnly(bufio.NewReaderSize(&bounds{whole, h.size, errGrown}, 64<<10), "")
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errBinary, err)
	}
	return textOnly(bufio.NewReaderSize(&bounds{r, limit, fmt.Errorf("%w: its first %d bytes", errPart, limit)}, 64<<10), "")
}

// skipLine drops what is left of a line that was cut.
func skipLine(b *bufio.Reader) *bufio.Reader {
	for range 64 { // a line of 4 MiB is cut where it is
		_, err := b.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
	}
	return b
}

// textOnly refuses what does not look like text.
func textOnly(b *bufio.Reader, note string) (io.Reader, string, error) {
	head, err := b.Peek(8 << 10)
	if err != nil && len(head) == 0 && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	if !isText(head) {
		return nil, "", errBinary
	}
	return b, note, nil
}

// isText tells text, also such with runs of zeros as after a crash or in UTF-16, from the rest.
func isText(b []byte) bool {
	odd := 0
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != 0x1b && c != 0 && c != '\f' && c != '\b' {
			odd++
		}
	}
	return odd*50 <= len(b)
}

// errGrown says that a file had its size while it was read, and has more now.
var errGrown = errors.New("it has grown")

// bounds ends a text after so many bytes, with more if there is more of it: then its last line may be half a line.
type bounds struct {
	r    io.Reader
	left int64
	more error
}

func (b *bounds) Read(p []byte) (int, error) {
	if b.left <= 0 {
		var one [1]byte
		if n, err := io.ReadFull(b.r, one[:]); n == 0 {
			return 0, err
		}
		return 0, b.more
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// unzip strings the files of a zip archive together.
func unzip(r io.Reader) (io.Reader, error) {
	all, err := io.ReadAll(io.LimitReader(r, maxZip+1))
	if err != nil {
		return nil, err
	}
	if len(all) > maxZip {
		return nil, fmt.Errorf("a zip archive of over %d bytes", maxZip)
	}
	z, err := zip.NewReader(bytes.NewReader(all), int64(len(all)))
	if err != nil {
		return nil, err
	}
	var list []io.Reader
	for _, f := range z.File {
		if !f.FileInfo().Mode().IsRegular() {
			continue
		}
		if ext := filepath.Ext(f.Name); ext == ".gz" || ext == ".zip" {
			continue
		}
		list = append(list, strings.NewReader("--- "+f.Name+" ---\n"), &lazyZip{f: f})
	}
	return io.MultiReader(list...), nil
}

type lazyZip struct {
	f *zip.File
	r io.ReadCloser
}

func (l *lazyZip) Read(p []byte) (int, error) {
	if l.r == nil {
		r, err := l.f.Open()
		if err != nil {
			return 0, err
		}
		l.r = r
	}
	return l.r.Read(p)
}
