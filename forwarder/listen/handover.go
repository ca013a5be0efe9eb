package listen

import (
	"crypto/rand"
	"encoding/hex"
	"net"
	"os"
	"strings"

	"github.com/fairlead/fairlead/internal/document"
)

// Names of descriptors, as socket units give them (FileDescriptorName=) and as they stand in systemd's descriptor store.
const (
	nameTCP  = "fluent-tcp"
	nameUnix = "fluent-unix"
	nameConn = "fluent-conn-" // and an id of its own
	nameRest = "fluent-rest-" // and the same id: what was already read of the message a connection is at
)

// Sockets are what a server leaves to the next one, in this process or in another: nobody is refused while fairlead restarts, and no
// connection ends.
type Sockets struct {
	listeners map[string]net.Listener // by name
	conns     []open
	key       document.Secret // that the connections were authenticated with
}

// open is an accepted connection between two servers.
type open struct {
	conn net.Conn
	id   string
	rest []byte
}

// Keeper is the service manager's descriptor store. What is kept in it outlives the process.
type Keeper interface {
	Keep(name string, fd uintptr) error
	Drop(name string)
}

// NewSockets sorts the descriptors that the service manager passed to this process, and answers those that are not for a listener. A
// listener of a socket unit without a name is known by what it is.
func NewSockets(files []*os.File) (*Sockets, []*os.File) {
	s := &Sockets{listeners: map[string]net.Listener{}}
	var others []*os.File
	rests := map[string][]byte{}
	for _, f := range files {
		name := f.Name()
		switch {
		case strings.HasPrefix(name, nameConn):
			if c, err := net.FileConn(f); err == nil { // else it is no connection any more
				s.conns = append(s.conns, open{conn: c, id: strings.TrimPrefix(name, nameConn)})
			}
			_ = f.Close() // FileConn has made its own
		case strings.HasPrefix(name, nameRest):
			rest := make([]byte, maxMessage)
			n, _ := f.ReadAt(rest, 0) // what is cut short does not scan, and the connection is closed
			rests[strings.TrimPrefix(name, nameRest)] = append([]byte(nil), rest[:n]...)
			_ = f.Close() // it was read
		default:
			l, err := net.FileListener(f)
			if err != nil || !s.takeListener(name, l) {
				if err == nil {
					_ = l.Close() // a second descriptor for it
				}
				others = append(others, f)
				continue
			}
			_ = f.Close() // FileListener has made its own
		}
	}
	for i := range s.conns {
		s.conns[i].rest = rests[s.conns[i].id]
	}
	return s, others
}

func (s *Sockets) takeListener(name string, l net.Listener) bool {
	if name != nameTCP && name != nameUnix {
		if strings.HasPrefix(name, "fairlead") {
			return false // a socket of ours for something else
		}
		switch l.(type) {
		case *net.TCPListener:
			name = nameTCP
		case *net.UnixListener:
			name = nameUnix
		}
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the unit's
	}
	if s.listeners[name] != nil {
		return false
	}
	s.listeners[name] = l
	return true
}

// Close closes what nobody took over.
func (s *Sockets) Close() {
	if s == nil {
		return
	}
	for _, l := range s.listeners {
		_ = l.Close() // nobody is left to tell
	}
	for _, c := range s.conns {
		_ = c.conn.Close()
	}
	s.listeners, s.conns = nil, nil
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
