package fluent

import (
	"bytes"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

func builtFrame(tag string) []byte {
	var b Builder
	b.Reset(tag, 0)
	b.Add(1, [][]byte{[]byte("text")}, nil, Extra{})
	b.Seal()
	return bytes.Clone(b.Frame())
}

func TestTagAndCheckFrame(t *testing.T) {
	for _, want := range []string{"a", "docker.web", string(bytes.Repeat([]byte("t"), 300))} {
		frame := builtFrame(want)
		if err := CheckFrame(frame); err != nil {
			t.Errorf("frame of %.20s: %v", want, err)
		}
		if tag, ok := Tag(frame[:len(want)+4]); !ok || string(tag) != want {
			t.Errorf("tag %.20q, %v, want %.20q", tag, ok, want)
		}
		if _, ok := Tag(frame[:len(want)]); ok {
			t.Error("half a tag is one")
		}
		for n := range frame {
			if CheckFrame(frame[:n]) == nil {
				t.Errorf("the first %d of %d bytes are a frame", n, len(frame))
			}
		}
		if CheckFrame(append(frame, 0)) == nil {
			t.Error("a frame with a byte too many is one")
		}
	}
}

// What passes can be decoded by the library, and the id can be replaced where CheckFrame says it lies.
func FuzzCheckFrame(f *testing.F) {
	f.Add(builtFrame("docker.web"))
	f.Add([]byte{0x93, 0xa1, 'x', 0xc4, 0, 0x80})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if CheckFrame(frame) != nil {
			return
		}
		id := bytes.Repeat([]byte("z"), IDBytes)
		copy(frame[len(frame)-IDBytes:], id)
		v, rest, err := msgp.ReadIntfBytes(frame)
		list, ok := v.([]any)
		if err != nil || len(rest) > 0 || !ok || len(list) != 3 {
			return // values in it that this library cannot make, or not all
		}
		options, ok := list[2].(map[string]any)
		if !ok {
			t.Fatalf("options are %T", list[2])
		}
		if got, ok := options["chunk"].(string); !ok || got != string(id) {
			t.Fatalf("chunk %v", options["chunk"])
		}
		tag, ok := Tag(frame)
		if want, _ := list[0].(string); !ok || string(tag) != want {
			t.Fatalf("tag %q, want %q", tag, want)
		}
	})
}
