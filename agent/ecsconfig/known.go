package ecsconfig

// Known tells whether the agent has a setting of that name, and whether its value must not be shown.
func Known(name string) (known, secret bool) {
	k, ok := table()[name]
	return ok, ok && k.Secret
}
