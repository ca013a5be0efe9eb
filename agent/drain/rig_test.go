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
	stop func()
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

// logs are the logs of a host whose receiver takes so many events a second.
type logs struct {
	mu      sync.Mutex
	pending int
	rate    int // events a second
	at      time.Time
	leaving bool
	spilled int
	said    []map[string]any
	reloads int // how often Settle is to be cut off
	settled int
}

func (l *logs) parts() Logs { return Logs{l.Leave, l.Settle, l.Rest, l.Spill, l.Say} }

// settle brings the account to now. mu is held.
func (l *logs) settle() {
	n := int(time.Since(l.at).Seconds() * float64(l.rate))
	if n > 0 || l.pending == 0 {
		l.pending, l.at = max(0, l.pending-n), time.Now()
	}
}

func (l *logs) write(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending == 0 {
		l.at = time.Now()
	}
	l.settle()
	l.pending += n
}

func (l *logs) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle()
	return l.pending
}

func (l *logs) Leave(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = on
}

func (l *logs) Settle(ctx context.Context) error {
	l.mu.Lock()
	cut := l.reloads > 0
	l.reloads--
	l.mu.Unlock()
	if cut {
		return errors.New("the forwarder stops")
	}
	for l.left() > 0 {
		if !pause(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled++
	return nil
}

func (l *logs) Rest() Rest { return Rest{Events: int64(l.left())} }

func (l *logs) Spill(_ context.Context, put func(Part) error) error {
	n := l.left()
	for first := 0; first < n; first += 1000 {
		events := min(1000, n-first)
		text := strings.Repeat("record\n", events)
		if err := put(Part{First: uint64(first), Events: int64(events), Bytes: int64(len(text)), Open: func() io.Reader { return strings.NewReader(text) }}); err != nil {
			return err
		}
		l.mu.Lock()
		l.spilled += events
		l.mu.Unlock()
	}
	return nil
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
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deny {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
		return
	}
	text, _ := io.ReadAll(r.Body)
	b.objects[r.URL.Path] = string(text)
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
