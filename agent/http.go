package agent

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// healthHandler answers what a monitoring system asks. It shows, and changes nothing.
func (a *Agent) healthHandler() http.Handler {
	mux := http.NewServeMux()
	options := promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn)}
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		promhttp.HandlerFor(a.gatherers(), options).ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { answer(w, a.alive(r.Context())) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, a.ready(r.Context())) })
	return mux
}

// controlHandler answers root on the control socket.
func (a *Agent) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, http.StatusOK, a.status(r.Context())) })
	mux.HandleFunc("POST /replay", a.replay)
	mux.HandleFunc("GET /tap", a.tap)
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
func (a *Agent) replacement(now *server, address string, listen func(string) (net.Listener, error), h http.Handler) (*server, error) {
	if address == "" {
		return nil, nil
	}
	if now != nil && now.address == address {
		return now, nil
	}
	l, err := listen(address)
	if err != nil {
		return nil, err
	}
	return serve(l, address, h, a.log.With("component", "http")), nil
}
