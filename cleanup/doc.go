// Package cleanup keeps the disk of a container instance from filling, and never touches what anyone needs. Each pass looks at the host,
// has package plan decide, and removes one thing after the other, looking at each once more right before. Nothing is ever forced or
// pruned. What it removed stands in a history on disk; what it saw stands beside it, so that a restart forgets nothing.
package cleanup
