package forwarder

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/metadata"
	"github.com/fairlead/fairlead/forwarder/tail"
	"github.com/fairlead/fairlead/internal/receiver"
)

var updateFields = flag.Bool("update", false, "write testdata/fields from what is found now")

// TestFields folds real logs and compares what the events say of themselves with what a person read off them: of each corpus the first
// event of each rule, class and level.
func TestFields(t *testing.T) {
	dirs, err := filepath.Glob("fold/testdata/corpora/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no corpora: %v", err)
	}
	var got strings.Builder
	for _, dir := range dirs {
		fmt.Fprintf(&got, "%s\n", filepath.Base(dir))
		seen := map[string]bool{}
		for _, e := range foldAll(t, corpus(t, filepath.Base(dir), "json.log"), nil) {
			f := e.Fields
			if key := e.Rule + f["exception.class"] + f["level"]; len(f) > 0 && !seen[key] {
				seen[key] = true
				fmt.Fprintf(&got, "  %d %s %s level=%q class=%q message=%q frame=%q\n", e.First, e.Language, e.Rule, f["level"], f["exception.class"], f["exception.message"], f["exception.frame"])
			}
		}
	}
	const golden = "testdata/fields"
	if *updateFields {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	wants, gots := strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")
	for i := range min(len(wants), len(gots)) {
		if gots[i] != wants[i] {
			t.Fatalf("line %d: got\n%s\nwant\n%s", i+1, gots[i], wants[i])
		}
	}
	if len(gots) != len(wants) {
		t.Errorf("%d lines, want %d", len(gots), len(wants))
	}
}

// BenchmarkFields measures what the fields cost an event.
func BenchmarkFields(b *testing.B) {
	frames := [][]byte{[]byte("F, [2026-01-02T03:04:05.000002 #7] FATAL -- : [11111111-2222-4333-8444-555555555555]   "), []byte("[11111111-2222-4333-8444-555555555555] RuntimeError (boom):")}
	for range 30 {
		frames = append(frames, []byte("[11111111-2222-4333-8444-555555555555] app/models/order.rb:11:in 'Order#take!'"))
	}
	for _, c := range []struct {
		name string
		ev   fold.Event
	}{
		{"line", fold.Event{Lines: [][]byte{[]byte("I, [2026-01-02T03:04:05.000002 #7]  INFO -- : [11111111-2222-4333-8444-555555555555] one")}}},
		{"dated", fold.Event{Lines: [][]byte{[]byte("2026-11-21 09:31:34.140 [main] INFO  Billing - started and many more words")}}},
		{"bare", fold.Event{Lines: [][]byte{[]byte("GET /orders/17 200 3ms and many more words of no interest")}}},
		{"report", fold.Event{Lines: frames, Language: "ruby"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var dst []fluent.Field
			b.ReportAllocs()
			for b.Loop() {
				_, dst = fieldsOf(dst[:0], &c.ev)
			}
		})
	}
}

// TestEventID: the id depends on which bytes of which log the event begins with, and on nothing else.
func TestEventID(t *testing.T) {
	container := func() *source { return &source{format: jsonFile, container: metadata.Container{ID: "abc"}} }
	file := func(ino uint64) *openFile { return &openFile{File: &tail.File{ID: tail.ID{Dev: 1, Ino: ino}}} }
	event := func(at, start int64, text string) *fold.Event {
		return &fold.Event{Time: at, Lines: [][]byte{[]byte(text)}, Pos: []fold.Pos{{Start: start, End: start + 10}}}
	}
	out, errs := &stream{name: "stdout"}, &stream{name: "stderr"}
	id := func(s *source, st *stream, f *openFile, ev *fold.Event) string {
		return string(eventID(nil, s, st, f, ev))
	}
	first := id(container(), out, file(7), event(5, 100, "one"))
	if len(first) != 32 {
		t.Fatalf("id %q", first)
	}
	if got := id(container(), out, file(8), event(5, 100, "one")); got != first {
		t.Error("another id for the same record in a copy of the file")
	}
	plainFile := &source{format: plain, name: "/a.log"}
	p := id(plainFile, out, file(7), event(5, 100, "one"))
	if got := id(plainFile, out, file(7), event(6, 100, "one")); got != p {
		t.Error("another id for a plain line that is read again at another time")
	}
	later := event(5, 100, "one")
	later.Part = 2
	ids := map[string]string{first: "the first", p: "the plain one"}
	for name, got := range map[string]string{
		"another offset": id(container(), out, file(7), event(5, 101, "one")), "another time": id(container(), out, file(7), event(6, 100, "one")),
		"another stream": id(container(), errs, file(7), event(5, 100, "one")), "another text": id(container(), out, file(7), event(5, 100, "two")),
		"another part": id(container(), out, file(7), later), "another file": id(plainFile, out, file(8), event(5, 100, "one")),
	} {
		if of, ok := ids[got]; ok {
			t.Errorf("%s has the id of %s", name, of)
		}
		ids[got] = name
	}
}

// TestRecord: the fields, the keys of JSON texts and the ids arrive; what is read again has the ids it had before.
func TestRecord(t *testing.T) {
	l := newLab(t)
	l.cfg.Record = Record{ID: true, ParseJSON: true}
	type arrival struct{ id, level, class, frame, user string }
	seen := map[string][]arrival{}
	l.each = func(e *receiver.Event) {
		text := string(e.Field("log"))
		seen[text] = append(seen[text], arrival{string(e.Field("_id")), string(e.Field("level")), string(e.Field("exception.class")), string(e.Field("exception.frame")), string(e.Field("user"))})
	}
	id := l.container(1)
	at := time.Now().Add(-time.Minute).UnixNano()
	var log strings.Builder
	var want []string
	for i := range 2 { // the same text twice is two events
		text := `{"user":"mia","level":"info","log":"theirs","container_id":"theirs"}`
		log.WriteString(jsonRecord("stderr", text+"\n", at+int64(time.Second)*int64(i-10)))
		want = append(want, text)
	}
	for i, text := range []string{
		"2026-11-21 09:31:34.140 [main] WARN  x - one", "2026-11-21 09:31:34.140 [main] ERROR x - failed\njava.io.IOException: closed\n\tat java.util.List.of(List.java:1)\n\tat com.acme.A.b(A.java:2)",
		"2026-11-21 09:31:34.140 [main] INFO  x - same", "2026-11-21 09:31:34.141 [main] INFO  x - last",
	} {
		for j, line := range strings.Split(text, "\n") {
			log.WriteString(jsonRecord("stdout", line+"\n", at+int64(i)*int64(time.Second)+int64(j)))
		}
		want = append(want, text)
	}
	l.append(l.log(id), log.String())
	l.start()
	l.await(id, want...)
	l.stop()
	if err := os.RemoveAll(l.cfg.Spool.Dir); err != nil { // all positions are lost
		t.Fatal(err)
	}
	l.start()
	l.await(id, append(want, want...)...)
	l.stop()
	ids := map[string]bool{}
	for text, as := range seen {
		again := as[len(as)/2:]
		for i, a := range as[:len(as)/2] {
			if len(a.id) != 32 || ids[a.id] || a.id != again[i].id {
				t.Errorf("%.40q: id %q, and when it was read again %q", text, a.id, again[i].id)
			}
			ids[a.id] = true
		}
	}
	if a := seen[want[3]][0]; a.level != "error" || a.class != "java.io.IOException" || a.frame != "com.acme.A.b(A.java:2)" {
		t.Errorf("exception: %+v", a)
	}
	if a := seen[want[0]][0]; a.level != "info" || a.user != "mia" {
		t.Errorf("JSON: %+v", a)
	}
	if len(ids) != 6 {
		t.Errorf("%d ids of 6 events", len(ids))
	}
}
