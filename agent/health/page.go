package health

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// View is what the page shows.
type View struct {
	Now      time.Time
	Version  string
	Started  time.Time
	Instance string // id of the EC2 instance; empty: not known
	OK       bool
	Reasons  []Reason
	Flow     *Flow // nil: nothing is forwarded
	Status   Status
	History  *History
}

const (
	pageEvery  = 2 * time.Second // how often a page that is open is brought up to date
	maxViewers = 16              // that are; others reload
	pageLives  = time.Second     // how long all who ask get the same page
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"amount": Amount, "duration": Duration, "ago": ago, "chart": chart, "percent": percent, "rate": rate,
	"has": strings.Contains, "short": short, "level": level, "when": when, "count": count, "part": part,
}).Parse(pageText))

// Page is the status page at / and, at /events, what keeps it up to date. It only shows. Nothing of it is fetched from elsewhere, and it is
// readable without its script.
type Page struct {
	look    func(context.Context) View
	policy  string
	viewers atomic.Int32

	mu   sync.Mutex // guards what follows; held while a page is made, so that it is made once for all who ask
	made time.Time
	full []byte
	main []byte
}

// NewPage shows what look answers.
func NewPage(look func(context.Context) View) *Page {
	hash := func(tag string) string {
		m := regexp.MustCompile(`(?s)<` + tag + `>(.*?)</` + tag + `>`).FindStringSubmatch(pageText)
		sum := sha256.Sum256([]byte(m[1]))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return &Page{look: look, policy: "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src " +
		hash("style") + "; script-src " + hash("script")}
}

var edges = [2][]byte{[]byte("<main>"), []byte("</main>")}

// make answers the page, and the part of it that changes.
func (p *Page) make(ctx context.Context) (full, main []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.made) < pageLives {
		return p.full, p.main, nil
	}
	var b bytes.Buffer
	if err := page.Execute(&b, p.look(ctx)); err != nil {
		return nil, nil, fmt.Errorf("make the status page: %w", err)
	}
	from, to := bytes.Index(b.Bytes(), edges[0])+len(edges[0]), bytes.Index(b.Bytes(), edges[1])
	p.full, p.main, p.made = b.Bytes(), b.Bytes()[from:to], time.Now()
	return p.full, p.main, nil
}

// ServeHTTP answers the page.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	full, _, err := p.make(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(full) // who asked may have gone
}

// Events sends what has changed, as server-sent events, until the viewer goes or the server ends.
func (p *Page) Events(w http.ResponseWriter, r *http.Request) {
	if p.viewers.Add(1) > maxViewers {
		p.viewers.Add(-1)
		http.Error(w, "as many as may are looking; reload the page instead", http.StatusServiceUnavailable)
		return
	}
	defer p.viewers.Add(-1)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	tick := time.NewTicker(pageEvery)
	defer tick.Stop()
	var event bytes.Buffer
	for {
		_, main, err := p.make(r.Context())
		if err != nil {
			return
		}
		event.Reset()
		for line := range bytes.Lines(main) {
			event.WriteString("data: ")
			event.Write(bytes.TrimRight(line, "\n"))
			event.WriteByte('\n')
		}
		event.WriteByte('\n')
		if _, err = w.Write(event.Bytes()); err == nil {
			err = out.Flush()
		}
		if err != nil {
			return // the viewer has gone
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// chart draws a series of the last hour as a line, the newest at the right. top is the value at the upper edge; 0: the largest there is.
func chart(h *History, name, title, unit string, top float64) template.HTML {
	values := h.values(name)
	const width, height = 240.0, 44.0
	last, most := 0.0, top
	for _, v := range values {
		if top == 0 {
			most = max(most, float64(v))
		}
		last = float64(v)
	}
	if most == 0 {
		most = 1
	}
	step := width / float64(samplesKept-1)
	var line strings.Builder
	for i, v := range values {
		x := width - float64(len(values)-1-i)*step
		if i == 0 {
			fmt.Fprintf(&line, "M%s %g L", trim(x), height+2)
		}
		fmt.Fprintf(&line, "%s %s ", trim(x), trim(height-2-min(1, float64(v)/most)*(height-4)))
	}
	shape := ""
	if line.Len() > 0 { // down to below the edge, so that the area is filled and its border not seen
		shape = fmt.Sprintf(`<path d="%s%g %g"/>`, line.String(), width, height+2)
	}
	now := inUnit(last, unit)
	label := template.HTMLEscapeString(fmt.Sprintf("%s in the last hour, now %s", title, now))
	return template.HTML(fmt.Sprintf( //nolint:gosec // numbers of our own, and a label that is escaped
		`<figure><figcaption>%s <b>%s</b></figcaption><svg viewBox="0 0 %g %g" role="img" aria-label="%s" preserveAspectRatio="none">%s</svg></figure>`,
		template.HTMLEscapeString(title), template.HTMLEscapeString(now), width, height, label, shape))
}

func trim(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

func inUnit(v float64, unit string) string {
	switch unit {
	case "part":
		return percent(v)
	case "bytes":
		return Amount(int64(v))
	case "bytes/s":
		return Amount(int64(v)) + "/s"
	case "seconds":
		return fmt.Sprintf("%.0f ms", v*1000)
	}
	return rate(v) + unit
}

func percent(v float64) string { return fmt.Sprintf("%.0f %%", v*100) }

func rate(v float64) string {
	if v < 10 {
		return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
	}
	return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
}

// short cuts a long name in its middle, where ECS's names differ least.
func short(name string, most int) string {
	r := []rune(name)
	if len(r) <= most {
		return name
	}
	head := most * 2 / 3
	return string(r[:head]) + "…" + string(r[len(r)-(most-head-1):])
}

// count writes a number with its digits in threes.
func count(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// part is how much of the whole is used; 0 where there is no whole.
func part(used, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(used) / float64(whole)
}

// level says how a part in use is to be shown.
func level(used float64) string {
	switch {
	case used >= 0.95:
		return "bad"
	case used >= 0.8:
		return "warn"
	}
	return "good"
}

// when is a time of day, with the day if it is not today's.
func when(t, now time.Time) string {
	if now.Sub(t) > 20*time.Hour {
		return t.UTC().Format("Jan 2 15:04")
	}
	return t.UTC().Format("15:04:05")
}

// maxShown bounds how many containers, sources and events the page lists.
const maxShown = 40

// Containers are those to show: what runs badly first, then what takes most memory.
func (v View) Containers() []ContainerState {
	list := slices.Clone(v.Status.Docker.Containers)
	rank := func(c ContainerState) int {
		switch {
		case c.State == "restarting" || c.State == "dead":
			return 0
		case c.LimitBytes > 0 && float64(c.MemoryBytes) > 0.9*float64(c.LimitBytes):
			return 1
		case c.State == "running":
			return 2
		}
		return 3
	}
	slices.SortStableFunc(list, func(a, b ContainerState) int {
		if ra, rb := rank(a), rank(b); ra != rb {
			return ra - rb
		}
		return int(b.MemoryBytes>>10) - int(a.MemoryBytes>>10)
	})
	return list[:min(len(list), maxShown)]
}

// Recent are the events of the last time, the newest first: what began and ended to be wrong, tasks that stopped, what ECS says of services.
func (v View) Recent() []Note {
	list := slices.Clone(v.Status.Notes)
	for _, t := range v.Status.ECS.Stopped {
		list = append(list, Note{t.At, "task", t.String()})
	}
	for _, s := range v.Status.ECS.Services {
		list = append(list, Note{s.At, "service", s.Service + ": " + s.Message})
	}
	slices.SortStableFunc(list, func(a, b Note) int { return b.At.Compare(a.At) })
	return list[:min(len(list), maxShown)]
}
