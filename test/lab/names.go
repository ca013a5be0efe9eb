package lab

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
)

// nameServer is a DNS server that knows one name, and answers as it is told.
type nameServer struct {
	conn    net.PacketConn
	serving sync.WaitGroup

	mu        sync.Mutex // guards all below
	addresses []net.IP
	broken    bool
}

const (
	labName           = "fluentd.fl-lab.test"
	nameServerAddress = "127.0.73.53"
)

func startNames(in *Space) (*nameServer, error) {
	n := &nameServer{addresses: []net.IP{net.IPv4(127, 0, 73, 1)}}
	err := in.Do(func() error {
		var err error
		n.conn, err = net.ListenPacket("udp", nameServerAddress+":53")
		return err
	})
	if err != nil {
		return nil, err
	}
	n.serving.Go(n.serve)
	return n, nil
}

func (n *nameServer) close() error {
	err := n.conn.Close()
	n.serving.Wait()
	return err
}

// set says what is answered from now on; no addresses: SERVFAIL.
func (n *nameServer) set(lasts ...byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses, n.broken = nil, len(lasts) == 0
	for _, b := range lasts {
		n.addresses = append(n.addresses, net.IPv4(127, 0, 73, b))
	}
}

func (n *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || size < 12 {
			continue
		}
		_, _ = n.conn.WriteTo(n.answer(buf[:size]), from)
	}
}

// answer answers any question for an A record with the addresses, anything else with nothing.
func (n *nameServer) answer(query []byte) []byte {
	end := 12
	for end < len(query) && query[end] != 0 {
		end += 1 + int(query[end])
	}
	if end+5 > len(query) {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	question := query[12 : end+5]
	kind := binary.BigEndian.Uint16(query[end+1:])
	reply := append([]byte{}, query[:2]...)
	if n.broken {
		reply = append(reply, 0x81, 0x82) // a server's failure
		return append(append(reply, 0, 1, 0, 0, 0, 0, 0, 0), question...)
	}
	count := 0
	if kind == 1 {
		count = len(n.addresses)
	}
	reply = append(reply, 0x81, 0x80, 0, 1, 0, byte(count), 0, 0, 0, 0)
	reply = append(reply, question...)
	for _, ip := range n.addresses[:count] {
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4) // for one second
		reply = append(reply, ip.To4()...)
	}
	return reply
}
