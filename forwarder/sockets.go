package forwarder

import (
	"os"

	"github.com/fairlead/fairlead/forwarder/listen"
)

// Sockets are those of the listener between two forwarders, in one process or in two; Keeper is where they outlive the process.
type (
	Sockets      = listen.Sockets
	Keeper       = listen.Keeper
	ListenStatus = listen.Status
)

// NewSockets sorts the descriptors that the service manager passed to this process, and answers those that are none of the listener's.
func NewSockets(files []*os.File) (*Sockets, []*os.File) { return listen.NewSockets(files) }
