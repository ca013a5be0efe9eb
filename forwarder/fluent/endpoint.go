package fluent

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Endpoint is one entry of `forward.to`. In the configuration it is a text, the address, or a map of these keys.
//
// The address is one of
//
//	host:port            all A and AAAA answers of a name, or an IP address
//	srv://name           the targets of an SRV name; a name like _fluentd._tcp.logs.internal needs no srv://
//
// and with tls:// before it (tls+srv://name) the connection is to be TLS.
type Endpoint struct {
	Address string `yaml:"address"`
	Weight  Weight `yaml:"weight"`  // its share of the connections; absent: DefaultWeight
	Standby bool   `yaml:"standby"` // taken only while no other endpoint works
}

// Weight is a share among the endpoints. The zero value, which cannot be written, is DefaultWeight.
type Weight int

// DefaultWeight is that of Fluentd's own out_forward.
const DefaultWeight Weight = 60

const maxWeight Weight = 1000

// UnmarshalText takes the short form of an entry, its address alone.
func (e *Endpoint) UnmarshalText(text []byte) error {
	*e = Endpoint{Address: string(text)}
	return nil
}

func (e Endpoint) String() string { return e.Address }

// UnmarshalText refuses 0: an endpoint that is never to be taken is left out, one for need is a standby.
func (w *Weight) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 16)
	if *w = Weight(n); err != nil || w.check() != nil || n == 0 {
		return fmt.Errorf("%q is no weight, need a whole number from 1 to %d", text, maxWeight)
	}
	return nil
}

func (w Weight) check() error {
	if w < 0 || w > maxWeight {
		return fmt.Errorf("%d is no weight, need a whole number from 1 to %d", int(w), maxWeight)
	}
	return nil
}

func (w Weight) share() int {
	if w == 0 {
		return int(DefaultWeight)
	}
	return int(w)
}

// target is what an address says. Two that are equal mean the same.
type target struct {
	host string // or the SRV name
	port uint16 // 0 for an SRV name
	srv  bool
	tls  bool
}

// parseAddress returns the target, or what is wrong with the address as the end of a sentence that begins with it.
func parseAddress(address string) (t target, err error) {
	rest := address
	if scheme, after, ok := strings.Cut(address, "://"); ok {
		rest = after
		switch scheme {
		case "tls":
			t.tls = true
		case "srv":
			t.srv = true
		case "tls+srv":
			t.tls, t.srv = true, true
		default:
			return t, fmt.Errorf("has the scheme %q: write host:port for plain TCP, tls://host:port, srv://name or tls+srv://name", scheme)
		}
	}
	if service, proto, ok := strings.Cut(rest, "._tcp."); ok && strings.HasPrefix(service, "_") && proto != "" {
		t.srv = true
	}
	if t.srv {
		if !validHost(rest) || strings.Contains(rest, ":") || net.ParseIP(rest) != nil {
			return t, fmt.Errorf("is no SRV name: write it without a port, which is in the answer (as srv://_fluentd._tcp.logs.internal)")
		}
		t.host = strings.ToLower(rest)
		return t, nil
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return t, fmt.Errorf("is not host:port (as logs.internal:24224 or [2001:db8::1]:24224)")
	}
	if host == "" {
		return t, fmt.Errorf("names no host: write host:port (as 127.0.0.1:24224)")
	}
	if !validHost(host) {
		return t, fmt.Errorf("has a host that cannot be: write host:port (as logs.internal:24224)")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return t, fmt.Errorf("has the port %q: need a number from 1 to 65535 (Fluentd's own is 24224)", port)
	}
	t.host, t.port = strings.ToLower(host), uint16(n)
	return t, nil
}

func validHost(host string) bool { return host != "" && !strings.ContainsAny(host, " \t/@,") }

// validEndpoints names the first entry that cannot be used.
func validEndpoints(to []Endpoint) error {
	seen := make(map[target]bool, len(to))
	primaries := 0
	for i, e := range to {
		if e.Address == "" {
			return fmt.Errorf("forward.to[%d]: an endpoint without an address: write host:port (as logs.internal:24224)", i)
		}
		t, err := parseAddress(e.Address)
		if err != nil {
			return fmt.Errorf("forward.to[%d]: %q %w", i, e.Address, err)
		}
		if seen[t] {
			return fmt.Errorf("forward.to[%d]: %q is there twice, name each address once", i, e.Address)
		}
		seen[t] = true
		if err := e.Weight.check(); err != nil {
			return fmt.Errorf("forward.to[%d].weight: %w", i, err)
		}
		if !e.Standby {
			primaries++
		}
	}
	if len(to) > 0 && primaries == 0 {
		return fmt.Errorf("forward.to: every endpoint is a standby, at least one must not be")
	}
	return nil
}
