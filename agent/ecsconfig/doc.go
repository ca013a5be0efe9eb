// Package ecsconfig makes /etc/ecs/ecs.config say what the operator meant, in a form that both of its readers understand
// alike: ecs-init, whose parser keeps quotes and knows no comments, and systemd.
//
// A Plan is pure: what stands in the file, what scripts write to it and what is declared go in, the new text and what is to
// be said about it come out. Only a value that the agent would choke on is left out; what it merely ignores is written as
// given and reported. Nothing that holds a secret is ever quoted.
package ecsconfig
