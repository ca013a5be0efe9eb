package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
)

// server is an HTTP server on one listener, with the address it was configured with.
type server struct {
	address   string
	webConfig string
	listener  net.Listener
	http      *http.Server
	served    chan struct{} // closed when the serving goroutine has ended
}

// serve takes the listener over; close ends it.
func serve(l net.Listener, address, webConfig string, h http.Handler, log *slog.Logger) *server {
	s := &server{address: address, webConfig: webConfig, listener: l, served: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background()) // of all requests
	s.http = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	s.http.RegisterOnShutdown(cancel) // else who watches a page that is kept up to date would hold up the end
	go func() {
		defer close(s.served)
		defer cancel()
		err := s.serveOn(l)
		if !errors.Is(err, http.ErrServerClosed) {
			log.Error("http server ended", "address", address, "err", err)
		}
	}()
	return s
}

// serveOn serves as the file of the exporter-toolkit says, which is read again for each connection, or plainly.
func (s *server) serveOn(l net.Listener) error {
	if s.webConfig == "" {
		return s.http.Serve(l)
	}
	systemd := false
	return web.Serve(l, s.http, &web.FlagConfig{WebSystemdSocket: &systemd, WebConfigFile: &s.webConfig}, slog.New(slog.DiscardHandler))
}

// again answers another listener on the same socket, which stays open when this server closes its own.
func (s *server) again() (net.Listener, error) {
	l, ok := s.listener.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("%s cannot be served in another way without a restart", s.address)
	}
	f, err := l.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f)
}

// close lets the requests that run finish for a second. A nil server is closed already.
func (s *server) close() {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		// Connections that are still busy are cut; there is nobody to tell.
		_ = s.http.Close()
	}
	<-s.served
}

// listenHealth opens the port of the metrics.
func listenHealth(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("health.listen: %w (another daemon? choose another address, or \"\" for none)", err)
	}
	return l, nil
}
