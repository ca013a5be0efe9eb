package agent

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/forwarder"
)

// inherited are the sockets that systemd passed to this process: those of its socket units, and those a former process left in the
// descriptor store. Descriptors that are none of ours are closed: nothing else would, and they would keep their other ends waiting.
func inherited(log *slog.Logger) *forwarder.Sockets {
	sockets, others := forwarder.NewSockets(activation.Files(true))
	for _, f := range others {
		log.Warn("descriptor passed by systemd is not known, it is closed", "name", f.Name())
		_ = f.Close() // of no use
	}
	return sockets
}

// keeper is systemd's descriptor store: what is in it outlives this process and is passed to the next one, as long as the unit is not
// stopped for good. It needs FileDescriptorStoreMax= in the unit; without, systemd closes what it is given.
type keeper struct {
	path string // of the notification socket
	log  *slog.Logger
}

// newKeeper is nil where there is no systemd, or where it says that the unit has no store.
func newKeeper(log *slog.Logger) forwarder.Keeper {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" || os.Getenv("FDSTORE") == "0" { // systemd 254 tells; before, it has to be tried
		return nil
	}
	return &keeper{path, log}
}

// Keep implements forwarder.Keeper. systemd has a descriptor of its own then, and lets go of it when the other end hangs up.
func (k *keeper) Keep(name string, fd uintptr) error {
	return k.send("FDSTORE=1\nFDNAME="+name, unix.UnixRights(int(fd)))
}

// Drop implements forwarder.Keeper.
func (k *keeper) Drop(name string) { _ = k.send("FDSTOREREMOVE=1\nFDNAME="+name, nil) } // it was logged

func (k *keeper) send(state string, rights []byte) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Sendmsg(fd, []byte(state), rights, &unix.SockaddrUnix{Name: k.path}, 0)
		_ = unix.Close(fd) // a datagram is sent or not
	}
	if err != nil {
		k.log.Warn("descriptor not given to systemd: what it carries does not outlive this process", "state", state, "err", err)
		return fmt.Errorf("systemd's descriptor store: %w", err)
	}
	return nil
}
