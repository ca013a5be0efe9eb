// Package redact takes secrets out of text. It knows three ways: names that may be shown (everything else that is set under a
// name is not), shapes and contexts that give a secret away, and values that were found to be secrets elsewhere, in any of
// the encodings that they are usually written in. It would rather take too much.
//
// The same secret becomes the same token wherever it stands, so that texts still correlate. A token is a keyed hash: who does not
// know the key, which is thrown away with the Redactor, cannot try values against it. The package is pure.
package redact

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
)

// Options say what is taken out beyond secrets, and how.
type Options struct {
	Key     []byte                 // of the tokens: random, new for each bundle
	Emails  bool                   // take out e-mail addresses too
	Allowed func(name string) bool // settings whose values may be shown, beside those everybody knows; nil: none
}

// Redactor is safe for use by several goroutines.
type Redactor struct {
	opts Options

	mu    sync.Mutex // guards what follows
	known known
	found map[string]*Found // by token
}

// New makes a Redactor that knows no value yet.
func New(o Options) *Redactor {
	return &Redactor{opts: o, found: map[string]*Found{}}
}

// Found is one secret in the report: where it stood, and never what it is.
type Found struct {
	Token string         `json:"token"`
	Kinds map[string]int `json:"kinds"` // how often, by what gave it away
	In    []string       `json:"in"`    // members of the archive, at most maxPlaces
	More  bool           `json:"more,omitempty"`
}

const (
	maxPlaces = 20
	maxFound  = 50_000 // beyond, secrets are taken out and no longer listed
)

// Report lists what was taken out, most often first.
func (r *Redactor) Report() []Found {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Found, 0, len(r.found))
	for _, f := range r.found {
		c := *f
		c.Kinds, c.In = map[string]int{}, slices.Clone(f.In)
		for k, n := range f.Kinds {
			c.Kinds[k] = n
		}
		list = append(list, c)
	}
	times := func(f Found) (n int) {
		for _, k := range f.Kinds {
			n += k
		}
		return n
	}
	slices.SortFunc(list, func(a, b Found) int { return cmp.Or(cmp.Compare(times(b), times(a)), cmp.Compare(a.Token, b.Token)) })
	return list
}

// tokenPrefix begins every token. It has no character that JSON, HTML, a URL or a shell would change.
const (
	tokenPrefix = "REDACTED-"
	tokenLen    = len(tokenPrefix) + 10
)

func (r *Redactor) tokenOf(value []byte) string {
	m := hmac.New(sha256.New, r.opts.Key)
	m.Write(value)
	return tokenPrefix + hex.EncodeToString(m.Sum(nil)[:5])
}

// isToken tells whether text begins with a token.
func isToken(text []byte) bool {
	if len(text) < tokenLen || string(text[:len(tokenPrefix)]) != tokenPrefix {
		return false
	}
	for _, c := range text[len(tokenPrefix):tokenLen] {
		if !isHex(c) {
			return false
		}
	}
	return true
}

// take notes that value was taken out of the member, and answers its token. The caller holds mu.
func (r *Redactor) take(member, kind string, value []byte) string {
	t := r.tokenOf(value)
	if member == "" { // only learned from
		return t
	}
	f := r.found[t]
	if f == nil {
		if len(r.found) >= maxFound {
			return t
		}
		f = &Found{Token: t, Kinds: map[string]int{}}
		r.found[t] = f
	}
	f.Kinds[kind]++
	if !slices.Contains(f.In, member) {
		if len(f.In) < maxPlaces {
			f.In = append(f.In, member)
		} else {
			f.More = true
		}
	}
	return t
}

// Learn has value taken out wherever it stands from now on. Values that are too short or too common for that are left to their context.
func (r *Redactor) Learn(value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known.learn([]byte(value))
}

// LearnSetting learns what is set under a name, if it is a secret by its name or its looks, or the password in it if it is a URL.
func (r *Redactor) LearnSetting(name, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, secret := judge([]byte(name)); secret && !isTrivial([]byte(value)) {
		r.known.learn([]byte(value))
	}
	_ = r.text("", []byte(name+"="+value), 0) // learns what it takes out
}

// Setting answers what may be shown of a value that is set under a name: the environment of a process, a container or a unit.
func (r *Redactor) Setting(member, name, value string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.setting(member, name, value)
}

func (r *Redactor) setting(member, name, value string) string {
	if isTrivial([]byte(value)) || isToken([]byte(value)) && len(value) == tokenLen {
		return value
	}
	kind, secret := judge([]byte(name))
	if secret || !r.allowed(name) {
		if !secret {
			kind = "setting"
		} else {
			r.known.learn([]byte(value))
		}
		_ = r.text("", []byte(value), 0) // a URL's password is learned for itself
		return r.take(member, kind, []byte(value))
	}
	return string(r.text(member, []byte(value), 0))
}

func (r *Redactor) allowed(name string) bool {
	return allowedSettings[strings.ToUpper(name)] || r.opts.Allowed != nil && r.opts.Allowed(name)
}

// allowedSettings are names whose values tell nothing but how a program runs. Their values are looked over all the same.
var allowedSettings = func() map[string]bool {
	m := map[string]bool{}
	for name := range strings.FieldsSeq(`PATH HOME LANG LANGUAGE LC_ALL LC_CTYPE TZ TERM SHELL USER LOGNAME HOSTNAME PWD SHLVL DEBIAN_FRONTEND container
		AWS_REGION AWS_DEFAULT_REGION AWS_EXECUTION_ENV AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_STS_REGIONAL_ENDPOINTS
		AWS_EC2_METADATA_DISABLED AWS_EC2_METADATA_SERVICE_ENDPOINT ECS_CONTAINER_METADATA_URI ECS_CONTAINER_METADATA_URI_V4 ECS_AGENT_URI
		RAILS_ENV RACK_ENV NODE_ENV APP_ENV ENVIRONMENT STAGE PORT GOMAXPROCS GOMEMLIMIT GOGC GODEBUG JAVA_HOME JAVA_VERSION
		PYTHON_VERSION NODE_VERSION RUBY_VERSION GOLANG_VERSION NGINX_VERSION REDIS_VERSION PG_MAJOR PG_VERSION PGDATA NO_PROXY
		LOG_LEVEL LOGLEVEL RAILS_LOG_TO_STDOUT RAILS_SERVE_STATIC_FILES MALLOC_ARENA_MAX OOM_SCORE DOCKER_HOST DOCKER_RAMDISK
		MAXFD LIMITNOFILE DAEMON_MAXFILES DAEMON_PIDFILE_TIMEOUT LISTEN_FDS LISTEN_PID NOTIFY_SOCKET`) {
		m[strings.ToUpper(name)] = true
	}
	return m
}()

// Text answers text as it may be shown. member is what the report calls it.
func (r *Redactor) Text(member string, text []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text(member, text, 0)
}

// text goes over the lines of a text. depth counts how many encodings it was taken out of. A text without a member is only learned from.
func (r *Redactor) text(member string, text []byte, depth int) []byte {
	p := pass{r: r, member: member, depth: depth}
	out := make([]byte, 0, len(text)+len(text)/16)
	for len(text) > 0 {
		n := len(text)
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			n = i + 1
		}
		out = p.line(out, text[:n])
		text = text[n:]
	}
	return p.end(out)
}
