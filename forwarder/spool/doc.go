// Package spool keeps frames on disk from the moment they are built until they are acknowledged, and with each frame the
// positions of the log lines it holds.
//
// Spool is a log of segment files. Append puts records, each a frame and its marks under one checksum, at its end; the Reader
// hands the frames out in order; Ack moves the cursor, and segments behind it are unlinked. Frames that are acked soon never
// reach the disk: only what stays longer than sync_after is synced, and what SyncTo waits for.
//
// What it promises: a record that Append has taken survives the end of the process; a record that is synced, and what SyncTo
// returned for, survives the loss of power. Frames come out at least once and in the order they went in. The marks that Open
// recovers never speak of a frame that is not in the spool or was not acked, whatever was killed, cut off, or rotten on the disk:
// where they cannot be sure they are older, so that lines are read again and arrive twice. No sequence number and no
// chunk id is ever used for two contents. Nothing that is un-acked is erased, but by when_full: drop_oldest, which counts.
//
// It does not know what frames and marks mean. It does not check again what the page cache gives back for large frames, unless
// a frame is handed out a second time. And what a disk loses after it has reported an error to the sync of a process that is
// killed then is found to be lost, not prevented.
//
// One goroutine appends (others may bring in replayed records at any time), one, the sender's, owns the Reader and acks, one runs Run.
package spool
