package drain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/internal/introspection"
	"github.com/fairlead/fairlead/test/cloud"
)

// rig is a container instance in virtual time. The clients of AWS are the real ones; what carries their requests is a call.
type rig struct {
	*Drain
	t    *testing.T
	aws  *cloud.Cloud
	logs *logs
	bin  *bucket
	dir  string
	cfg  Config
	log  strings.Builder
	reg  *prometheus.Registry

	clouds int // how often the clients were made
	stop   func()
}

var testAWS = aws.Config{Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")}

var discard = slog.New(slog.DiscardHandler)

// carrier answers requests in memory.
type carrier struct{ aws, s3 http.Handler }

func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	if strings.HasPrefix(r.URL.Host, "s3.") {
		c.s3.ServeHTTP(w, r)
	} else {
		c.aws.ServeHTTP(w, r)
	}
	return w.Result(), nil
}

// inTime runs a test of a Drain in virtual time. It begins with an instance in service.
func inTime(t *testing.T, c *cloud.Cloud, cfg Config, test func(r *rig)) {
	t.Helper()
	b := &bucket{objects: map[string]string{}}
	old := http.DefaultTransport
	http.DefaultTransport = carrier{c, b}
	defer func() { http.DefaultTransport = old }()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, aws: c, logs: &logs{}, bin: b, dir: dir, cfg: cfg}
		b.stored = r.logs.stored
		r.start()
		defer func() { r.stop() }()
		test(r)
		if strings.Contains(r.log.String(), "secret") {
			t.Error("a secret is in the log")
		}
	})
}

// start runs a Drain, after stop another process.
func (r *rig) start() {
	if err := r.cfg.Validate(); err != nil {
		r.t.Fatal(err)
	}
	r.reg = prometheus.NewRegistry()
	r.Drain = New(r.cfg, r.dir, Parts{
		Metadata: r.aws.Item,
		Agent:    local{r.aws.Introspection()},
		Cloud: func(context.Context) (Cloud, error) {
			r.clouds++
			cfg := testAWS.Copy()
			cfg.HTTPClient = &http.Client{Transport: http.DefaultTransport} // the SDK has a transport of its own
			return NewCloud(cfg), nil
		},
		Logs: r.logs.parts(),
	}, slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), r.reg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	r.stop = func() {
		cancel()
		<-ended
	}
	time.Sleep(10 * time.Second)
	synctest.Wait()
}

// local is the agent's introspection without a socket.
type local struct{ h http.Handler }

func (l local) get(path string) (text []byte, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("connection refused")
		}
	}()
	w := httptest.NewRecorder()
	l.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Body.Bytes(), nil
}

func (l local) Metadata(context.Context) (m introspection.Metadata, err error) {
	err = l.into("/v1/metadata", &m)
	return m, err
}

func (l local) Tasks(context.Context) ([]introspection.Task, error) {
	var answer struct{ Tasks []introspection.Task }
	err := l.into("/v1/tasks", &answer)
	return answer.Tasks, err
}

func (l local) into(path string, v any) error {
	text, err := l.get(path)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	return err
}

// logs are the logs of a host whose receiver takes so many events a second. Events are numbered from 0.
type logs struct {
	mu      sync.Mutex
	written int
	writes  []write
	acked   int // all below it are
	rate    int // events a second
	at      time.Time
	aside   int // frames
	leaving bool
	inS3    map[int]bool
	puts    int // events that were put, twice if they were twice
	said    []map[string]any
	reloads int // how often Settle is to be cut off
	settled int
	off     bool // the forwarder does not run
}

func (l *logs) parts() Logs { return Logs{l.Leave, l.Settle, l.Rest, l.Spill, l.Say} }

// settle brings the account to now. mu is held.
func (l *logs) settle() {
	n := int(time.Since(l.at).Seconds() * float64(l.rate))
	if n > 0 || l.written == l.acked {
		l.acked, l.at = min(l.written, l.acked+n), time.Now()
	}
}

func (l *logs) write(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle()
	l.written += n
	l.writes = append(l.writes, write{time.Now(), l.written})
}

// write is when there was how much.
type write struct {
	at   time.Time
	upto int
}

// receives sets what the receiver takes a second from now on.
func (l *logs) receives(rate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle()
	l.rate, l.at = rate, time.Now()
}

// set changes what there is, under the lock.
func (l *logs) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *logs) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle()
	return l.written - l.acked
}

// lost is how many events end with the host if that ends now.
func (l *logs) lost() (n int) { return l.lostFrom(time.Now().Add(time.Second)) }

func (l *logs) Leave(on bool) { l.set(func() { l.leaving = on }) }

func (l *logs) Settle(ctx context.Context) error {
	l.mu.Lock()
	cut, upto := l.reloads > 0 || l.off, l.written
	l.reloads--
	l.mu.Unlock()
	if cut {
		return errors.New("the forwarder stops")
	}
	for {
		l.mu.Lock()
		l.settle()
		done := l.acked >= upto
		l.mu.Unlock()
		if done {
			break
		}
		if !pause(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	l.set(func() { l.settled++ })
	return nil
}

// lostFrom is how many of the events that were written before a time end with the host if that ends now.
func (l *logs) lostFrom(before time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle()
	upto := 0
	for _, w := range l.writes {
		if w.at.Before(before) {
			upto = w.upto
		}
	}
	for i := l.acked; i < upto; i++ {
		if !l.inS3[i] {
			n++
		}
	}
	return n
}

func (l *logs) Rest() Rest {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Rest{Events: int64(l.written - l.acked), Aside: int64(l.aside)}
}

func (l *logs) Spill(_ context.Context, put func(Part) error) error {
	l.mu.Lock()
	l.settle()
	first, end, aside, off := l.acked, l.written, l.aside, l.off
	l.mu.Unlock()
	if off {
		return errors.New("the forwarder stops")
	}
	const segment = 1000
	for first < end {
		last := min(end, first-first%segment+segment)
		if err := put(l.part(first, last-1)); err != nil {
			return err
		}
		first = last
	}
	for i := range aside {
		if err := put(l.part(1<<40+i, 1<<40+i)); err != nil {
			return err
		}
	}
	return nil
}

func (l *logs) part(first, last int) Part {
	var text strings.Builder
	for i := first; i <= last; i++ {
		fmt.Fprintln(&text, i)
	}
	return Part{First: uint64(first), Last: uint64(last), Events: int64(last - first + 1), Bytes: int64(text.Len()), Open: func() io.Reader { return strings.NewReader(text.String()) }}
}

// stored notes an object that is in S3 now.
func (l *logs) stored(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inS3 == nil {
		l.inS3 = map[int]bool{}
	}
	for line := range strings.Lines(text) {
		var n int
		_, _ = fmt.Sscan(line, &n) // as part writes it
		l.inS3[n] = true
		l.puts++
	}
}

func (l *logs) Say(_ context.Context, _ time.Time, record map[string]any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, record)
	return nil
}

// phases are those of the events that were sent.
func (l *logs) phases() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, r := range l.said {
		all = append(all, fmt.Sprint(r["phase"]))
	}
	return strings.Join(all, " ")
}

// bucket is an S3 that takes everything.
type bucket struct {
	mu      sync.Mutex
	objects map[string]string
	deny    bool
	down    bool
	asked   int
	stored  func(string)
}

// set changes what there is, under the lock.
func (b *bucket) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if b.deny {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
		return
	}
	if b.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	text, _ := io.ReadAll(r.Body)
	b.objects[r.URL.Path] = string(text)
	b.stored(string(text))
}

// until waits, in virtual time, until it is so.
func (r *rig) until(within time.Duration, what string, so func() bool) time.Duration {
	r.t.Helper()
	began := time.Now()
	for !so() {
		if time.Since(began) > within {
			r.t.Fatalf("after %s: not yet %s; status %+v\n%s", within, what, r.Status(), r.log.String())
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
	}
	return time.Since(began)
}

// reaches waits until the phase is reached.
func (r *rig) reaches(p Phase, within time.Duration) time.Duration {
	r.t.Helper()
	return r.until(within, string(p), func() bool { return r.Status().Phase == p })
}

func (r *rig) metric(name string) (sum float64) {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
