package health

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// example is a host on a busy day: an hour of history, containers of three services, a disk that fills and a task that stopped.
func example(t testing.TB, wrong bool) View {
	t.Helper()
	h := recorded(t, "al2023")
	h.kernel.now = func() time.Time { return time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC) }
	state, err := h.state(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := state.At
	d := DockerState{
		Up: true, Since: now.Add(-40 * time.Hour), Probed: now, Version: "25.0.8", Driver: "overlay2", Milli: map[string]int64{callPing: 1, callList: 14, callInspect: 6},
		Volumes: map[string]int{"used": 9, "dangling": 14}, Images: map[string]int{"used": 5, "unused": 3},
	}
	e := ECSState{
		Up: true, Since: now.Add(-40 * time.Hour), Process: true, Cluster: "prod", Instance: here, Version: "Amazon ECS Agent - v1.105.1 (8dfceca6)",
		Tasks: map[string]int{"RUNNING": 9, "PENDING": 0, "STOPPED": 2}, LogAge: 4,
		Stopped: []StoppedTask{{At: now.Add(-11 * time.Minute), Family: "billing", Revision: "41", Container: "worker", Code: "137", Reason: reasonOOM,
			StopReason: "Essential container in task exited"}},
		Services: []ServiceEvent{{At: now.Add(-10 * time.Minute), Service: "billing", Message: "(service billing) has reached a steady state."}},
	}
	for i, family := range []string{"storefront", "storefront", "storefront", "billing", "billing", "search", "search", "search", "mailer"} {
		d.Containers = append(d.Containers, ContainerState{
			ID: fmt.Sprint(i), Name: fmt.Sprintf("ecs-%s-%d-web-f8b4c2a1d0e9b7c3a5%02d", family, 12+i, i), Family: family, State: "running", Status: fmt.Sprintf("Up %d hours", 3+i),
			MemoryBytes: int64(120+40*i) << 20, LimitBytes: 512 << 20, CPU: 0.03 * float64(i+1),
		})
	}
	d.Containers[3].MemoryBytes = 505 << 20
	d.Containers = append(d.Containers, ContainerState{Name: "ecs-billing-41-worker-e1d2c3b4a59687f0d101", State: "exited", Status: "Exited (137) 11 minutes ago"})
	f := &Flow{
		Count: 14, Lines: 4812345, ReadBytes: 1 << 30, LagBytes: 34567, Pending: 120, PendingBytes: 84321, CapacityBytes: 1 << 30, OldestSeconds: 0.4, Acked: 4712112,
		Receiver: "fluentd.logs.internal:24224", Connected: now.Add(-7 * time.Minute), LastAck: now.Add(-200 * time.Millisecond),
	}
	for i, name := range []string{"storefront", "search", "billing", "mailer"} {
		f.Sources = append(f.Sources, FlowSource{Tag: "docker.ecs-" + name + "-12-web-f8b4c2a1d0e9b7c3a501", LagBytes: int64(21000 - 6000*i), Lines: int64(1 << (20 - i))})
	}
	past := NewHistory()
	for i := range samplesKept {
		s := state
		s.At = now.Add(time.Duration(i-samplesKept+1) * sampleEvery)
		wave := math.Sin(float64(i)/17) + math.Sin(float64(i)/5)/3
		for mode := range s.ticks {
			s.ticks[mode] = float64(i) * 100
		}
		s.ticks[0] += float64(i)*60 + 40*wave
		s.AvailableBytes = int64(float64(s.MemoryBytes) * (0.45 - 0.05*wave))
		s.ReceivedBytes, s.SentBytes = int64(float64(i)*9e6+4e6*wave), int64(float64(i)*4e6+1e6*wave)
		s.Disks = append([]DiskState{}, s.Disks...)
		var fills map[string]time.Duration
		if wrong {
			s.Disks[0].AvailBytes = s.Disks[0].SizeBytes/9 + int64(samplesKept-i)*(9<<20)
			s.Disks[0].UsedBytes = s.Disks[0].SizeBytes - s.Disks[0].AvailBytes
			fills = map[string]time.Duration{s.Disks[0].Mount: time.Duration(s.Disks[0].AvailBytes/(9<<20)) * sampleEvery}
		}
		at := *f
		at.Acked = int64(i)*3000 + int64(900*wave)
		at.LagBytes = int64(30000 + 20000*wave)
		at.PendingBytes = int64(90000 + 40000*wave)
		d.Milli[callList] = 14 + int64(6*wave)
		past.sample(s, d, Around{Flow: &at, UntilFull: fills})
	}
	v := View{Now: now, Version: "1.0.0", Started: now.Add(-40 * time.Hour), Instance: "i-0123456789abcdef0", Flow: f, History: past}
	last, _, synced, lagged := past.snapshot()
	last.ClockSynced = true
	v.Status = Status{Host: last, Docker: d, ECS: e}
	if wrong {
		v.Status.Docker.Up, v.Status.Docker.Hung, v.Status.Docker.Since, v.Status.Docker.Error = false, true, now.Add(-3*time.Minute), "list: the engine did not answer within 5s"
	}
	v.Reasons = judgeHost(v.Status.Host, v.Status.Docker, e, f, synced, lagged, now)
	v.OK = len(v.Reasons) == 0
	past.note(now.Add(-3*time.Minute), v.Reasons)
	_, v.Status.Notes, _, _ = past.snapshot()
	return v
}

func served(t *testing.T, look func(context.Context) View) *httptest.Server {
	t.Helper()
	p := NewPage(look)
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", p)
	mux.HandleFunc("GET /events", p.Events)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	return server
}

func TestPage(t *testing.T) {
	for wrong, want := range map[bool][]string{
		false: {"All is well", "fluentd.logs.internal:24224", "ecs-storefront-12-web", "out of memory", "Books balanced"},
		true:  {"Something is wrong", "docker_hung", "disk_filling", "full in", "hangs"},
	} {
		v := example(t, wrong)
		server := served(t, func(context.Context) View { return v })
		answer, err := http.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !bytes.Contains(text, []byte(w)) {
				t.Errorf("no %q", w)
			}
		}
		if len(text) > 100_000 {
			t.Errorf("%d bytes", len(text))
		}
		if outside := regexp.MustCompile(`(?:src|href)="[^"]*//[^"]*"`).Find(text); outside != nil {
			t.Errorf("fetches %s", outside)
		}
	}
}

// What comes from outside is text, never markup.
func TestPageEscapes(t *testing.T) {
	v := example(t, true)
	const attack = `<script>alert(1)</script>"'`
	v.Status.Docker.Containers[0].Name, v.Status.Docker.Containers[0].Status = attack, attack
	v.Flow.Sources[0].Tag, v.Flow.Sources[0].Path, v.Flow.Failing = attack, attack, attack
	v.Reasons[0].Text, v.Status.Host.Disks[0].Mount, v.Status.ECS.Error = attack, attack, attack
	v.Status.ECS.Services[0].Message = attack
	full, main, err := NewPage(func(context.Context) View { return v }).make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(main, []byte("<script")) || bytes.Count(full, []byte("<script")) != 1 {
		t.Error("markup came through")
	}
}

// A page of nothing yet is a page.
func TestPageAtStart(t *testing.T) {
	for _, v := range []View{{History: NewHistory(), Now: time.Now()}, {History: NewHistory(), Flow: &Flow{}, OK: true}} {
		if _, main, err := NewPage(func(context.Context) View { return v }).make(t.Context()); err != nil || len(main) == 0 {
			t.Errorf("%d bytes, %v", len(main), err)
		}
	}
}

// browser is Debian's Chromium.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed (FAIRLEAD_CHROMIUM=1 test/setup.sh installs it)")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU)
	limit, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewExecAllocator(limit, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// fewColours makes a picture of text and areas small enough to be kept: with the 256 colours that it has most of.
func fewColours(t *testing.T, picture []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[color.Color]int{}
	b := full.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			seen[full.At(x, y)]++
		}
	}
	palette := slices.SortedFunc(maps.Keys(seen), func(a, b color.Color) int { return seen[b] - seen[a] })
	small := image.NewPaletted(b, palette[:min(len(palette), 256)])
	draw.Draw(small, b, full, b.Min, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A real browser shows the page, complains of nothing, keeps it up to date, and fits it on a phone, in light and dark; without scripts too.
func TestPageInBrowser(t *testing.T) {
	ctx := browser(t)
	var acked atomic.Int64
	v := example(t, true)
	acked.Store(v.Flow.Acked)
	server := served(t, func(context.Context) View {
		shown, flow := v, *v.Flow
		flow.Acked = acked.Load()
		shown.Flow = &flow
		return shown
	})
	var complaints atomic.Pointer[string]
	var bytesIn atomic.Int64
	if err := chromedp.Listen(ctx, func(event any) {
		var text string
		switch e := event.(type) {
		case *log.EventEntryAdded:
			text = e.Entry.Text
		case *runtime.EventExceptionThrown:
			text = e.ExceptionDetails.Text
		case *network.EventLoadingFinished:
			bytesIn.Add(int64(e.EncodedDataLength))
		}
		if text != "" {
			complaints.Store(&text)
		}
	}); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	do := func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	text := func(selector string) string {
		t.Helper()
		text, err := chromedp.Run(ctx, chromedp.TextContent(selector))
		if err != nil {
			t.Fatalf("%s: %v", selector, err)
		}
		return text
	}
	evaluate := func(expression string) float64 {
		t.Helper()
		v, err := chromedp.Run(ctx, chromedp.Evaluate[float64](expression))
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		return v
	}
	until := func(condition string) {
		t.Helper()
		if _, err := chromedp.Run(ctx, chromedp.Poll[bool](condition, chromedp.WithPollingInterval(100*time.Millisecond), chromedp.WithPollingTimeout(time.Minute))); err != nil {
			t.Fatalf("%s: %v", condition, err)
		}
	}
	shot := func(name string) {
		t.Helper()
		picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err == nil && *update {
			err = os.WriteFile(filepath.Join("../../docs", name), fewColours(t, picture), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	enable := chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{})
		if err == nil {
			_, err = cdp.Call(ctx, t, log.Enable, cdp.Empty{})
		}
		return err
	})
	scheme := func(name string) chromedp.Action[chromedp.Void] {
		return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
			return err
		})
	}
	scripts := func(off bool) chromedp.Action[chromedp.Void] {
		return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: off})
			return err
		})
	}
	const live = `document.getElementById("live").textContent.startsWith("live,")`

	do("start", enable, chromedp.EmulateViewport(1200, 900), scheme("light"), chromedp.Navigate(server.URL)) // the browser's own first steps are not ours
	// The quickest of a few, since a busy machine makes any one slow.
	took := math.Inf(1)
	for range 5 {
		bytesIn.Store(0)
		do("load", chromedp.Navigate(server.URL))
		if took = min(took, evaluate(`performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd`)); took < 200 {
			break
		}
	}
	t.Logf("shown after %.0f ms, %d bytes", took, bytesIn.Load())
	if took > 2000 {
		t.Errorf("shown after %.0f ms", took)
	}
	if got := text("title"); !strings.HasPrefix(got, "NOT READY · ip-10-0-2-7") {
		t.Errorf("title %q", got)
	}
	if got := text(".verdict"); !strings.Contains(got, "docker_hung") {
		t.Errorf("verdict %q", got)
	}
	until(live)
	acked.Store(5_000_001)
	until(`document.querySelector("main").textContent.includes("5\u202f000\u202f001")`)
	shot("status-light.png")
	do("dark", scheme("dark"))
	shot("status-dark.png")
	do("phone", chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	shot("status-phone.png")
	if width := evaluate(`document.documentElement.scrollWidth`); width > 390 {
		t.Errorf("%g pixels wide on a phone of 390", width)
	}
	if text := complaints.Load(); text != nil {
		t.Errorf("the browser complains: %s", *text)
	}
	do("without scripts", scripts(true), chromedp.Navigate(server.URL))
	if got := text(".verdict"); !strings.Contains(got, "docker_hung") {
		t.Errorf("without scripts: %q", got)
	}
	// The server goes; the page says so. Scripts are on again for that.
	do("with scripts", scripts(false), chromedp.Navigate(server.URL))
	until(live)
	server.Listener.Close()
	server.CloseClientConnections()
	until(`document.getElementById("live").textContent.startsWith("not connected")`)
}
