// Package fluent speaks the Fluentd Forward protocol outwards: it builds frames, and carries frames from a queue to a
// receiver until each is acknowledged.
//
// It promises that a frame is acked to the queue only after the receiver has acked that very frame, that frames are
// first sent in the order of the queue, and that what is sent again after a fault is at most what one batch held. It
// keeps nothing on disk and drops nothing: while no receiver takes the frames, the queue waits.
package fluent
