// Package agent is the daemon: it composes the configuration of all parts, starts and stops them in order, replaces them
// when the configuration is read again, and answers on the control socket and over HTTP.
//
// It knows nothing of logs: the forwarder does the work, agent keeps it running and says how it is.
package agent
