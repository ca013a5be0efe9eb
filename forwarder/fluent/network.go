package fluent

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// Conn is a connection as a session uses it: a *net.TCPConn, or one of a simulated network.
type Conn interface {
	net.Conn
	syscall.Conn
	SetLinger(sec int) error
}

// Network is how a Sender comes to its receivers. Dial keeps to the time it takes itself.
type Network interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	Dial(ctx context.Context, to netip.AddrPort) (Conn, error)
}

// Through has the sender use another network than the host's. It is called before Run.
func (s *Sender) Through(n Network) { s.resolver, s.dial = n, n.Dial }
