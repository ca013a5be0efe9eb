// Package scalein holds the test that takes an instance away: the built binary as the daemon of a container instance with 50,000 lines that
// are not acknowledged, a slow receiver, and AWS's interfaces in their wire formats, all in a network of its own. It needs root, and no
// Docker engine: the containers' logs are written the way the engine writes them.
package scalein
