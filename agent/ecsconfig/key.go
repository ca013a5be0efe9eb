package ecsconfig

import (
	_ "embed"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
)

//go:embed keys.json
var keysJSON []byte

// Key is what is known of a setting of the ECS agent 1.105 on Linux.
type Key struct {
	Name          string          `json:"name"`
	Readers       []string        `json:"readers"`
	Type          string          `json:"type"`
	DefaultAgent  json.RawMessage `json:"default_agent"`
	DefaultInit   json.RawMessage `json:"default_ecs_init"`
	Values        []string        `json:"values"`
	CaseSensitive *bool           `json:"case_sensitive"`
	Trimmed       bool            `json:"trimmed"`
	Min           json.RawMessage `json:"min"`
	Max           json.RawMessage `json:"max"`
	BelowMin      string          `json:"below_min"`
	AboveMax      string          `json:"above_max"`
	Zero          string          `json:"zero"`
	Invalid       string          `json:"invalid"`
	Since         string          `json:"since"`
	Platform      string          `json:"platform"`
	Secret        bool            `json:"secret"`
}

// table is parsed when it is needed first: most commands never do.
var table = sync.OnceValue(func() map[string]Key {
	var list []Key
	if err := json.Unmarshal(keysJSON, &list); err != nil {
		panic("ecsconfig: keys.json: " + err.Error())
	}
	m := make(map[string]Key, len(list))
	for _, k := range list {
		m[k.Name] = k
	}
	return m
})

// names lists all keys that have an effect on Linux.
var names = sync.OnceValue(func() []string {
	var list []string
	for name, k := range table() {
		if k.Platform == "" {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
})

var secretName = regexp.MustCompile(`(?i)(auth_data|password|passwd|secret|token|access_key|credential|private|api_?key)`)

// IsSecret tells whether the value of a key must not be shown.
func IsSecret(name string) bool {
	if k, ok := table()[name]; ok {
		return k.Secret
	}
	// Of a key that nobody knows, its name decides; lower case is read for proxies too.
	if k, ok := table()[strings.ToUpper(strings.TrimSpace(name))]; ok && k.Secret {
		return true
	}
	return secretName.MatchString(name)
}

// fatal tells whether the agent ends, and is started again for ever, over a value that it cannot read.
func (k Key) fatal() bool { return strings.HasPrefix(k.Invalid, "fatal") && k.Type != "string" }

// readByInit tells whether ecs-init takes the key from its own environment.
func (k Key) readByInit() bool { return slices.Contains(k.Readers, "ecs-init") }

// otherwise is what the agent takes instead of a value that it cannot use, for people. It is the agent's own default: that of ecs-init has
// made way for what stands in the file, whatever it says.
func (k Key) otherwise() string { return spoken(k.DefaultAgent) }

// without is what holds where the file does not name the key.
func (k Key) without() string {
	if k.DefaultInit != nil {
		return spoken(k.DefaultInit)
	}
	return spoken(k.DefaultAgent)
}

func spoken(raw json.RawMessage) string {
	switch text := string(raw); text {
	case "", "null", `""`:
		return "nothing"
	default:
		return strings.Trim(text, `"`)
	}
}
