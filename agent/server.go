package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// server is an HTTP server on one listener, with the address it was configured with.
type server struct {
	address string
	http    *http.Server
	served  chan struct{} // closed when the serving goroutine has ended
}

// serve takes the listener over; close ends it.
func serve(l net.Listener, address string, h http.Handler, log *slog.Logger) *server {
	s := &server{address: address, served: make(chan struct{})}
	s.http = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.served)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("http server ended", "address", address, "err", err)
		}
	}()
	return s
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
