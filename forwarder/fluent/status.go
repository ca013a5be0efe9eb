package fluent

import "time"

// Status is what a Sender is doing, for people and for `fairlead status`.
type Status struct {
	Address   string    `json:"address"`            // the entry of `to` in use; empty while there is no connection
	Remote    string    `json:"remote,omitempty"`   // the IP address and port it resolved to
	Connected time.Time `json:"connected,omitzero"` // since when
	LastAck   time.Time `json:"last_ack,omitzero"`  // of a frame or a ping
	InFlight  int       `json:"in_flight"`          // frames written and not yet acknowledged
	Failures  int       `json:"failures"`           // failed attempts since a frame was last acknowledged
	Since     time.Time `json:"failing_since,omitzero"`
	Refusals  int       `json:"refusals"`             // how many of them were the receiver closing on data
	Suspect   *Suspect  `json:"suspect,omitempty"`    // the frame that holds up all others, if it is one that is refused
	LastError string    `json:"last_error,omitempty"` // also when it is over
	ErrorAt   time.Time `json:"last_error_at,omitzero"`
	Warning   string    `json:"warning,omitempty"` // what an operator should change, while frames are delivered all the same

	// Counts since the start of the sender.
	Connections int64 `json:"connections"`
	Resent      int64 `json:"resent_frames"`
	SentBytes   int64 `json:"sent_bytes"`
	AckedEvents int64 `json:"acked_events"`
}
