package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/fairlead/fairlead/agent/ecsconfig"
	"github.com/fairlead/fairlead/agent/userdata"
	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/secrets"
)

// kept is what fairlead render finds out for the daemon: the documents in the user data, and the values of secrets that AWS keeps. So the
// daemon waits for no network when it starts or reloads, and neither needs the metadata service. It holds secrets in clear.
type kept struct {
	Machine  string            `json:"machine"` // for it alone: an AMI made of this instance carries the file to others
	UserData []userdata.YAML   `json:"user_data"`
	Secrets  map[string]string `json:"secrets"` // by what names them: "{ssm: NAME}", "kms CIPHERTEXT"
}

// keptPath is in the state folder as it is configured without user data.
func keptPath(stateDir string) string { return filepath.Join(stateDir, "user-data.json") }

func secretKey(from document.Elsewhere) string { return from.Kind + " " + from.Name }

// errForeign says that what is kept is not of this machine.
var errForeign = errors.New("is of another machine (the AMI brought it along), not read; fairlead render writes it anew")

// readKept answers nothing, and no error, where nothing is kept.
func readKept(stateDir string) (k kept, err error) {
	text, err := os.ReadFile(keptPath(stateDir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k, nil
	case err != nil:
		return k, fmt.Errorf("cannot be read: %w", reason(err))
	}
	if err := json.Unmarshal(text, &k); err != nil {
		return kept{}, errors.New("is damaged, not read; fairlead render writes it anew")
	}
	if k.Machine != machine("/") {
		return kept{}, errForeign
	}
	return k, nil
}

// write keeps k. Where there is nothing to keep, there is no file.
func (k kept) write(stateDir string) error {
	if len(k.UserData) == 0 && len(k.Secrets) == 0 {
		if err := os.Remove(keptPath(stateDir)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return err
	}
	return ecsconfig.Replace(keptPath(stateDir), text, 0o600)
}

func (k kept) equal(other kept) bool {
	return len(k.UserData) == len(other.UserData) && len(k.Secrets) == len(other.Secrets) &&
		(len(k.UserData) == 0 || reflect.DeepEqual(k.UserData, other.UserData)) && (len(k.Secrets) == 0 || reflect.DeepEqual(k.Secrets, other.Secrets))
}

// lookup is how the daemon comes to what AWS keeps.
func (k kept) lookup(from document.Elsewhere) (string, error) {
	if value, ok := k.Secrets[secretKey(from)]; ok {
		return value, nil
	}
	return "", errors.New("not looked up yet: fairlead render does that (systemctl restart fairlead-render)")
}

// notAsked stands for a secret where it does not matter what it is.
const notAsked = "(not looked up)"

// expect takes what is not there for something that will be.
func (k kept) expect(from document.Elsewhere) (string, error) {
	value, err := k.lookup(from)
	if err != nil {
		value = notAsked
	}
	return value, err
}

func unasked(document.Elsewhere) (string, error) { return notAsked, nil }

// lookups asks AWS for what the configuration names, each thing once.
type lookups struct {
	ctx    context.Context // of one rendering, which is all that it lives for
	store  secrets.Store
	former kept
	known  map[document.Elsewhere]answered
	used   map[string]string // secrets of the daemon, as kept has them
	lost   []string          // those that have no value
}

type answered struct {
	value string
	err   error
}

func newLookups(ctx context.Context) *lookups {
	return &lookups{ctx: ctx, known: map[document.Elsewhere]answered{}, used: map[string]string{}}
}

// ask is the look-up of a setting of the ECS agent: without an answer the file's former value stays.
func (l *lookups) ask(from document.Elsewhere) (string, error) {
	a, ok := l.known[from]
	if !ok {
		a.value, a.err = l.store.Lookup(l.ctx, from.Kind, from.Name)
		l.known[from] = a
	}
	return a.value, a.err
}

// forDaemon is the look-up of a key of the daemon. One that fails does not keep ecs.config from being written.
func (l *lookups) forDaemon(from document.Elsewhere) (string, error) {
	value, err := l.ask(from)
	if err == nil && value != "" {
		l.used[secretKey(from)] = value
		return value, nil
	}
	if err == nil {
		err = errors.New("it is empty")
	}
	if former, ok := l.former.Secrets[secretKey(from)]; ok {
		l.used[secretKey(from)] = former
		return former, fmt.Errorf("%w; the former value stays", err)
	}
	if what := from.String(); !strings.Contains(strings.Join(l.lost, " "), what) {
		l.lost = append(l.lost, what)
	}
	return notAsked, err
}
