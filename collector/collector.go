// Package collector makes the support bundle: what the AWS script ecs-logs-collector gathers, under the same names, and what it lacks.
//
// A bundle ends when its deadline does, whatever hangs: every source has a time of its own, commands are killed with their group, and what
// sleeps in the kernel is left behind. It stages nothing on disk. Every text goes through the redactor before it is written. What was
// gathered and what was not, and why, stands in its manifest.
package collector

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/fairlead/fairlead/collector/findings"
	"github.com/fairlead/fairlead/collector/redact"
	"github.com/fairlead/fairlead/internal/objects"
	"github.com/fairlead/fairlead/internal/size"
)

// Config is the `bundle` section.
type Config struct {
	Deadline time.Duration `yaml:"deadline"`  // of the whole
	MaxBytes size.Bytes    `yaml:"max_bytes"` // of text, before it is compressed; logs take fixed parts of it
	Emails   bool          `yaml:"emails"`    // redact e-mail addresses too
	Dir      string        `yaml:"dir"`       // of the bundles that the daemon makes; empty: bundles below the state directory
	Upload   string        `yaml:"upload"`    // s3://BUCKET/PREFIX for those; empty: they stay in dir
	Every    time.Duration `yaml:"every"`     // the daemon makes at most one in this time
	OnAlert  bool          `yaml:"on_alert"`  // make one when the daemon is not ready for five minutes
	Keep     int           `yaml:"keep"`      // how many stay in dir
}

// DefaultConfig is for a container instance.
func DefaultConfig() Config {
	return Config{Deadline: 60 * time.Second, MaxBytes: 16 << 20, Every: time.Hour, Keep: 3}
}

// Bounds of the deadline. Below, not even what hangs can be told from what is slow.
const (
	leastDeadline = 5 * time.Second
	mostDeadline  = time.Hour
)

// CheckDeadline judges a deadline for one bundle.
func CheckDeadline(d time.Duration) error {
	if d < leastDeadline || d > mostDeadline {
		return fmt.Errorf("%v is out of range, use %v to %v", d, leastDeadline, mostDeadline)
	}
	return nil
}

// Validate judges what can be without touching the host.
func (c Config) Validate() error {
	var errs []error
	if err := CheckDeadline(c.Deadline); err != nil {
		errs = append(errs, fmt.Errorf("bundle.deadline: %w", err))
	}
	if c.MaxBytes < 1<<20 || c.MaxBytes > 16<<30 {
		errs = append(errs, fmt.Errorf("bundle.max_bytes: %v is out of range, use 1MiB to 16GiB", c.MaxBytes))
	}
	if c.Dir != "" && !filepath.IsAbs(c.Dir) {
		errs = append(errs, fmt.Errorf("bundle.dir: %q is not an absolute path", c.Dir))
	}
	if c.Upload != "" {
		if _, err := objects.Parse(c.Upload); err != nil {
			errs = append(errs, fmt.Errorf("bundle.upload: %q is no place in S3: write s3://BUCKET/PREFIX", c.Upload))
		}
	}
	if c.Every < time.Minute {
		errs = append(errs, fmt.Errorf("bundle.every: %v is too often, use 1m or more", c.Every))
	}
	if c.Keep < 1 || c.Keep > 100 {
		errs = append(errs, fmt.Errorf("bundle.keep: %d is out of range, use 1 to 100", c.Keep))
	}
	return errors.Join(errs...)
}

// Options say what goes into one bundle.
type Options struct {
	Root          string // of the host's files: "/" but in tests
	Instance      string // its id, the name of the folder in the archive; empty: it is asked for
	Docker        string // the engine's socket; empty: /var/run/docker.sock
	Introspection string // of the ECS agent; empty: http://localhost:51678

	Deadline  time.Duration
	MaxBytes  int64
	Brief     bool          // no container logs, short tails of the others
	Since     time.Duration // how far back logs go; 0: as far as their bounds allow
	Container string        // the id or name of the one whose log is wanted whole
	Emails    bool
	Format    string // gzip or zstd

	// ECSKey tells whether a setting of ecs.config is one of the agent's, and whether its value is a secret.
	ECSKey func(name string) (known, secret bool)
	// Given are sources that others know how to ask: the daemon's status, the rendered ecs.config.
	Given []Given
	// Progress is told of what happens, by one goroutine at a time; nil: nobody is.
	Progress func(Event)
	Version  string // of this program

	hurry bool // tests alone have no host to spare
}

// Given is a source of somebody else's. Its text is redacted like any other.
type Given struct {
	Path   string // in the archive
	Within time.Duration
	Gather func(ctx context.Context) ([]byte, error)
	// Found turns the answer into facts that rules look at; nil: none.
	Found func(text []byte, f *findings.Facts)
}

// Event is a step of the work.
type Event struct {
	Source  string
	Outcome string // empty: it begins
	Why     string
	Done    int // sources
	Of      int
	Bytes   int64 // of the archive so far
}

// Result is what came of it.
type Result struct {
	Name     string // the folder within the archive
	Manifest Manifest
	Findings []findings.Finding
	Bytes    int64 // of the archive
}

// Run gathers everything into an archive that it writes to w. When ctx ends, it ends within a second with what there is. An error
// says that there is no whole archive.
func Run(ctx context.Context, o Options, w io.Writer) (Result, error) {
	began := time.Now()
	a, err := newArchive(w, o.Format)
	if err != nil {
		return Result{}, err
	}
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Instance == "" {
		o.Instance = InstanceID(ctx, o.Root)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	b := &bundle{o: o, began: began, archive: a, pace: newPace(began, o.Deadline)}
	if o.hurry {
		b.pace.until = began
	}
	b.redactor = redact.New(redact.Options{Key: key, Emails: o.Emails, Allowed: func(name string) bool {
		known, secret := o.ecsKey(name)
		return known && !secret
	}})
	b.host = newHost(o)
	b.left = o.MaxBytes
	b.facts.Now = began
	// The last of the time is for the manifest, the findings and the report.
	working, cancel := context.WithDeadline(ctx, began.Add(o.Deadline-closing))
	defer cancel()
	b.name = path.Join("collect", o.Instance)
	b.learn(working)
	b.gather(working)
	list := b.finish(ctx)
	return Result{Name: b.name, Manifest: b.manifest, Findings: list, Bytes: a.written}, a.err
}

// closing is the time that the end of a bundle has for itself.
const closing = time.Second

func (o Options) ecsKey(name string) (known, secret bool) {
	if o.ECSKey == nil {
		return false, true
	}
	return o.ECSKey(name)
}

// bundle is one being made. Its fields belong to the goroutine of Run, but for what locks itself.
type bundle struct {
	o        Options
	name     string // "collect/<instance>"
	began    time.Time
	archive  *archive
	redactor *redact.Redactor
	host     *host
	pace     *pace
	left     int64 // bytes of text that may still be taken
	manifest Manifest
	facts    findings.Facts
	full     bool
	members  map[string]bool
}

// gather runs the sources, several at a time, and writes what they answer one after the other.
func (b *bundle) gather(ctx context.Context) {
	b.members = map[string]bool{}
	list := b.sources()
	next := make(chan *source)
	done := make(chan *sheet)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for s := range next {
				done <- s.gather(ctx)
			}
		})
	}
	go func() { // ends with the list
		defer close(done)
		for i := range list {
			next <- &list[i]
		}
		close(next)
		workers.Wait()
	}()
	n := 0
	for sh := range done {
		b.tell(Event{Source: sh.source.name, Done: n, Of: len(list), Bytes: b.archive.written})
		e := b.put(ctx, sh)
		n++
		b.tell(Event{Source: e.Source, Outcome: e.Outcome, Why: e.Why, Done: n, Of: len(list), Bytes: b.archive.written})
	}
}

// atOnce is how many sources are asked at a time: most wait for somebody.
const atOnce = 4

func (b *bundle) tell(e Event) {
	if b.o.Progress != nil {
		b.o.Progress(e)
	}
}

// put writes what a source answered and notes how it went.
func (b *bundle) put(ctx context.Context, sh *sheet) Entry {
	members, took, err := sh.take()
	for _, found := range sh.found {
		found(&b.facts)
	}
	e := Entry{Source: sh.source.name, Seconds: took.Seconds()}
	for i := range members {
		b.pace.wait(ctx)
		m, merr := b.write(ctx, &members[i])
		if m.Path != "" {
			e.Members = append(e.Members, m)
			e.Bytes += m.Bytes
		}
		err = worse(err, merr)
	}
	e.Outcome, e.Why = outcome(err, len(e.Members) > 0)
	e.Why = string(b.redactor.Text("manifest.json", []byte(e.Why)))
	b.manifest.Sources = append(b.manifest.Sources, e)
	return e
}

// write redacts one member and puts it into the archive.
func (b *bundle) write(ctx context.Context, raw *member) (Member, error) {
	if b.full && !b.archive.room(reserve) { // else it may fit where a larger one did not
		return Member{}, errFull
	}
	if ctx.Err() != nil && raw.open != nil {
		return Member{}, errTimedOut
	}
	if b.left <= 0 {
		return Member{}, fmt.Errorf("%w: the bundle holds bundle.max_bytes (%d) of text", errPart, b.o.MaxBytes)
	}
	name := b.unique(raw.path)
	full := path.Join(b.name, name)
	m := Member{Path: name}
	h := &hold{}
	at := b.began
	var err error
	switch {
	case raw.open != nil:
		at, m.Note, err = b.stream(ctx, name, raw, h)
	case raw.shape == asJSON:
		err = b.json(name, raw.data, h)
	case raw.shape == asECSConfig:
		_, err = h.Write(b.ecsConfig(name, raw.data))
	case raw.shape == asUnit:
		_, err = h.Write(b.unit(name, raw.data))
	default:
		err = b.text(name, raw.data, h)
	}
	b.left -= h.size
	if h.size == 0 && err != nil {
		delete(b.members, name)
		return Member{}, err
	}
	m.Bytes = h.size
	body, rerr := h.reader()
	if rerr != nil {
		return Member{}, rerr
	}
	if aerr := b.archive.add(full, at, h.size, body); aerr != nil {
		if errors.Is(aerr, errFull) {
			b.full = true
		}
		return Member{}, worse(err, aerr)
	}
	if m.Note != "" {
		err = worse(err, fmt.Errorf("%w: %s of %s", errPart, m.Note, name))
	}
	return m, err
}

// unique keeps two sources from writing one name.
func (b *bundle) unique(name string) string {
	name = clean(string(b.redactor.Text("manifest.json", []byte(name))))
	for i, try := 2, name; ; i++ {
		if !b.members[try] {
			b.members[try] = true
			return try
		}
		try = fmt.Sprintf("%s.%d", name, i)
	}
}

// clean makes a name safe for whoever unpacks it.
func clean(name string) string {
	name = path.Clean("/" + name)[1:]
	return string(bytes.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\\' {
			return '_'
		}
		return r
	}, []byte(name)))
}

// stream redacts a file while it is read, at the bundle's pace.
func (b *bundle) stream(ctx context.Context, name string, raw *member, h *hold) (at time.Time, note string, err error) {
	r, at, note, err := raw.open(ctx, min(raw.limit, b.left))
	if err != nil {
		return at, "", err
	}
	defer r.Close()
	s := b.redactor.Stream(name, watched{h, &b.facts, name})
	buf := make([]byte, 64<<10)
	for {
		n, rerr := r.Read(buf)
		if n > 0 {
			if _, err := s.Write(buf[:n]); err != nil {
				return at, note, err
			}
			b.pace.wait(ctx)
		}
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr == nil && ctx.Err() != nil {
			rerr = errTimedOut
		}
		if errors.Is(rerr, errGrown) {
			return at, note, s.Cut()
		}
		if rerr != nil {
			return at, note, worse(rerr, s.Cut())
		}
	}
	return at, note, s.Close()
}

// watched has rules look at the lines that go by, as they stand in the archive.
type watched struct {
	h     *hold
	facts *findings.Facts
	name  string
}

func (w watched) Write(text []byte) (int, error) {
	w.facts.Watch(w.name, int(w.h.lines), text)
	return w.h.Write(text)
}

func (b *bundle) text(name string, text []byte, h *hold) error {
	if !isText(text[:min(len(text), 8<<10)]) {
		return errBinary
	}
	s := b.redactor.Stream(name, watched{h, &b.facts, name})
	if _, err := s.Write(text); err != nil {
		return err
	}
	return s.Close()
}

// json redacts a document by what it says of itself; what is none is a text.
func (b *bundle) json(name string, text []byte, h *hold) error {
	out, err := b.redactor.JSON(name, text)
	if err != nil {
		return b.text(name, text, h)
	}
	_, err = h.Write(out)
	return err
}

// finish writes the findings, the report, what was redacted and the manifest, and ends the archive.
func (b *bundle) finish(ctx context.Context) []findings.Finding {
	list := b.facts.Findings()
	for i := range list {
		f := &list[i]
		f.What = b.shown(f.What)
		for j := range f.Evidence {
			f.Evidence[j] = b.shown(f.Evidence[j])
		}
	}
	m := &b.manifest
	m.Version, m.Instance, m.Began, m.Deadline = b.o.Version, path.Base(b.name), b.began.UTC(), b.o.Deadline.Seconds()
	m.Interrupted = ctx.Err() != nil
	m.DiskFull = b.full
	report := b.redactor.Report()
	m.Secrets = len(report)
	m.Seconds = time.Since(b.began).Seconds()
	m.CPUSeconds = (used() - b.pace.base).Seconds()
	last := func(name string, text []byte) {
		_ = b.archive.addLast(path.Join(b.name, name), time.Now(), int64(len(text)), bytes.NewReader(text)) // what failed for good is in archive.err
	}
	found := marshal(list)
	last("findings.json", found)
	last("findings.txt", []byte(findings.Text(list)))
	last("redactions.json", marshal(struct {
		About string         `json:"about"`
		List  []redact.Found `json:"redacted"`
	}{"What was taken out, by its token, never by its value. A token stands for the same text throughout this bundle, and for nothing in another.", report}))
	last("report.html", b.report(list))
	last("manifest.json", marshal(m))
	if err := b.archive.end(); err != nil && b.archive.err == nil {
		b.archive.err = err
	}
	return list
}

// shown is a text of a finding: what was gathered says it, so it may hold anything.
func (b *bundle) shown(text string) string {
	return string(b.redactor.Text("findings.json", []byte(text)))
}

// marshal is for values of our own.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic("collector: " + err.Error())
	}
	return b.Bytes()
}
