package fluent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/fairlead/fairlead/internal/handshake"
)

// setupError is a failure that lasts until someone changes the configuration, here or at the receiver. It is tried again
// slowly: each try costs the receiver a TLS handshake and a line in its log.
type setupError struct{ err error }

func (e *setupError) Error() string { return e.err.Error() }
func (e *setupError) Unwrap() error { return e.err }

// secure brings a fresh connection to where messages may be sent: TLS, then HELO, PING and PONG, each if it is configured,
// within connect_timeout together. It closes a connection that does not get there.
func (s *Sender) secure(ctx context.Context, conn Conn, p *peer) (*wire, error) {
	w, err := newWire(conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if !p.tls && s.client.SharedKey == "" {
		return w, nil
	}
	_ = conn.SetDeadline(time.Now().Add(s.cfg.ConnectTimeout))
	interrupt := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer interrupt()
	if p.tls {
		err = s.startTLS(w, p)
	}
	if err == nil && s.client.SharedKey != "" {
		err = s.authenticate(w, p)
	}
	if err == nil {
		_ = conn.SetDeadline(time.Time{})
		w.socket.live = true
		return w, nil
	}
	w.close()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, err
}

func (s *Sender) startTLS(w *wire, p *peer) error {
	config, err := s.credentials.current(s.log, time.Now())
	if err != nil {
		return err
	}
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = p.host
	}
	w.tls = tls.Client(w.socket, config)
	if err := w.tls.Handshake(); err != nil {
		return s.explainTLS(err, config.ServerName, p)
	}
	return nil
}

// explainTLS says what is wrong and what to do.
func (s *Sender) explainTLS(err error, name string, p *peer) error {
	var (
		unknown x509.UnknownAuthorityError
		other   x509.HostnameError
		invalid x509.CertificateInvalidError
		noTLS   tls.RecordHeaderError
	)
	to := "TLS with " + p.Address
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s: no answer within %v: if the receiver has no TLS, write its address without tls://", to, s.cfg.ConnectTimeout)
	case errors.As(err, &unknown):
		fix := "set forward.tls.ca to the certificate of the CA that signed it"
		if s.cfg.TLS.CA != "" {
			fix = "the CA in " + s.cfg.TLS.CA + " did not sign it"
		}
		err = fmt.Errorf("%s: the receiver's certificate is from a CA that is not trusted: %s (%w)", to, fix, err)
	case errors.As(err, &other):
		err = fmt.Errorf("%s: the receiver's certificate is for another name than %q: set forward.tls.server_name to one that is in it (%w)", to, name, err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		err = fmt.Errorf("%s: the receiver's certificate has expired or is not valid yet: renew it, or set this host's clock (%w)", to, err)
	case errors.As(err, &noTLS):
		err = fmt.Errorf("%s: the receiver does not speak TLS: write its address without tls://, or give it a TLS transport (%w)", to, err)
	case isAlert(err):
		return s.explainAlert(err, p)
	case ofNetwork(err):
		return fmt.Errorf("%s: the connection ended in the handshake: %w", to, err)
	default:
		err = fmt.Errorf("%s: %w", to, err)
	}
	return &setupError{err}
}

// explainAlert says what the receiver's alert means. In TLS 1.3 it comes after our handshake is done, with the first read.
func (s *Sender) explainAlert(err error, p *peer) error {
	fix := "set forward.tls.cert and forward.tls.key if it asks for a client certificate"
	if s.cfg.TLS.Cert != "" {
		fix = "see whether it trusts the CA that signed " + s.cfg.TLS.Cert
	}
	return &setupError{fmt.Errorf("TLS with %s: the receiver refused us: %s (%w)", p.Address, fix, err)}
}

// isAlert tells whether the other side ended TLS with a word of why.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// ofTLS tells whether TLS ended for what was said in it.
func ofTLS(err error) bool {
	var op *net.OpError
	var record tls.RecordHeaderError
	return errors.As(err, &record) || errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// ofNetwork tells the errors of the connection from those of what was said on it.
func ofNetwork(err error) bool {
	var n net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &n) && !ofTLS(err)
}

// authenticate proves to the receiver that we know the key, and has it prove the same.
func (s *Sender) authenticate(w *wire, p *peer) error {
	conn := io.ReadWriter(w.socket)
	if w.tls != nil {
		conn = w.tls
	}
	hello, err := s.client.Do(conn)
	if err == nil {
		w.closes = !hello.Keepalive
		return nil
	}
	to := "handshake with " + p.Address
	var refused *handshake.RefusedError
	switch {
	case errors.As(err, &refused):
		err = fmt.Errorf("%s: %w: make forward.shared_key (and username and password) the same as in its <security> section", to, err)
	case errors.Is(err, handshake.ErrUnproved):
		err = fmt.Errorf("%s: %w: is it another receiver, or has its <security> section another shared_key?", to, err)
	case errors.Is(err, handshake.ErrSelf):
		err = fmt.Errorf("%s: %w: if that is not ourselves, give its <security> section another self_hostname", to, err)
	case isAlert(err):
		return s.explainAlert(err, p)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s: no answer within %v: has the receiver a <security> section? If not, remove forward.shared_key (%w)", to, s.cfg.ConnectTimeout, err)
	case ofNetwork(err):
		return fmt.Errorf("%s: %w", to, err)
	default:
		err = fmt.Errorf("%s: %w", to, err)
	}
	return &setupError{err}
}
