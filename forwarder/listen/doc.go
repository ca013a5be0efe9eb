// Package listen takes events in over Fluentd's Forward protocol, on TCP and on a unix socket: from Docker's fluentd driver, FireLens,
// Fluent Bit, Fluentd, and the fluent-logger libraries.
//
// It promises that an ack is sent only for what its Sink took and synced; that what the Sink did not take is left unread in the
// socket, where the next process finds it if the connection is kept; that a record is passed on byte for byte; and that nothing a
// peer sends makes it use more memory than the limits say, or panic. It closes connections that speak something else.
//
// Reading is done in two steps. A connection looks at what lies in its socket (MSG_PEEK), hands on the whole messages it finds there,
// and only then takes them out. So the bytes of an incomplete message stay in the kernel: an idle connection costs no buffer, a
// slow one neither, and a connection that outlives the process continues at the beginning of a message. Only a message too
// large for that is collected in memory, under a common budget.
//
// It does not know what becomes of an event: folding and the spool are the Sink's.
package listen
