// Package plan decides what is removed from a host, and does nothing else: it is a function of what was observed, what is remembered
// of earlier looks, and a policy. No clock, no file and no engine is asked here, so every rule can be tried on a million made-up hosts.
//
// What must hold, whatever the disk looks like, is in law.go. What is done first when a disk fills is in ladder.go.
package plan
