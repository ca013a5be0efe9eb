// Package userdata turns the bytes of EC2 user data into what they ask of ecs.config: the lines that scripts would write and
// the documents that declare settings. It is pure: scripts are parsed and followed, never run, and nothing is fetched.
//
// It promises bounds, not trust: whatever the bytes, reading ends soon, with limited memory, and says what it could not
// read. What a script does that depends on the host it runs on (an instance's region, a file, a condition) is left to the
// script, and said so.
package userdata
