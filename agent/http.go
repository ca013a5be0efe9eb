package agent

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fairlead/fairlead/agent/health"
)

// healthHandler answers what a monitoring system and a person ask. It shows, and changes nothing.
func (a *Agent) healthHandler() http.Handler {
	mux := http.NewServeMux()
	page := health.NewPage(a.view)
	mux.Handle("GET /{$}", page)
	mux.HandleFunc("GET /events", page.Events)
	mux.HandleFunc("GET /metrics", a.serveMetrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { answer(w, a.alive(r.Context())) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, a.ready(r.Context())) })
	return mux
}

func (a *Agent) serveMetrics(w http.ResponseWriter, r *http.Request) {
	// One sample that cannot be told must not hide all others.
	options := promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true}
	promhttp.HandlerFor(a.gatherers(), options).ServeHTTP(w, r)
}

// controlHandler answers root on the control socket.
func (a *Agent) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, http.StatusOK, a.status(r.Context())) })
	mux.HandleFunc("POST /replay", a.replay)
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) {
		a.askReload()
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("POST /bundle", a.askBundle)
	mux.HandleFunc("GET /tap", a.tap)
	mux.HandleFunc("POST /gc", a.cleanUp)
	mux.HandleFunc("GET /metrics", a.serveMetrics)
	mux.HandleFunc("POST /drain", a.takeOut)
	mux.HandleFunc("DELETE /drain", a.takeBack)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// answer writes 200 if there is nothing to complain of, else 503.
func answer(w http.ResponseWriter, v Verdict) {
	code := http.StatusOK
	if !v.OK {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, v)
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n')) // who asked may have gone
}

// replacement answers the server for the address: the one there is, a new one, or none for an empty address.
// webConfig is the file of the exporter-toolkit that says how it is served; empty: plainly.
func (a *Agent) replacement(now *server, address, webConfig string, listen func(string) (net.Listener, error), h http.Handler) (*server, error) {
	if address == "" {
		return nil, nil
	}
	if now != nil && now.address == address {
		if now.webConfig == webConfig {
			return now, nil
		}
		listen = func(string) (net.Listener, error) { return now.again() }
	}
	l, err := listen(address)
	if err != nil {
		return nil, err
	}
	return serve(l, address, webConfig, h, a.log.With("component", "http")), nil
}
