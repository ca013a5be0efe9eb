package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/fairlead/fairlead/agent/ecsconfig"
)

// record is what was rendered last: by it the daemon tells that somebody else has written to the file. It holds hashes only.
type record struct {
	Settings map[string]string `json:"settings"` // by name, a hash of the value
}

func recordPath(stateDir string) string { return filepath.Join(stateDir, "ecs-config.json") }

func newRecord(text []byte) record {
	r := record{Settings: map[string]string{}}
	for name, value := range ecsconfig.Effective(text) {
		sum := sha256.Sum256([]byte(name + "=" + value))
		r.Settings[name] = hex.EncodeToString(sum[:])
	}
	return r
}

// remember notes what was rendered in the state folder.
func (h ecsHost) remember(out Rendered) error {
	dir := out.config.State.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	text, err := json.Marshal(newRecord(out.Text))
	if err != nil {
		return err
	}
	return ecsconfig.Replace(recordPath(dir), text, 0o600)
}

// drift names the settings of the file that are not as they were rendered last. Nothing was rendered: no drift.
func (h ecsHost) drift(stateDir string) ([]string, error) {
	text, err := os.ReadFile(recordPath(stateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var then record
	if err := json.Unmarshal(text, &then); err != nil {
		return nil, fmt.Errorf("read %s: %w", recordPath(stateDir), err)
	}
	file, err := ecsconfig.Read(h.file())
	if err != nil {
		return nil, err
	}
	now := newRecord(file)
	var differ []string
	for name, sum := range then.Settings {
		if now.Settings[name] != sum {
			differ = append(differ, name)
		}
	}
	for name := range now.Settings {
		if _, ok := then.Settings[name]; !ok {
			differ = append(differ, name)
		}
	}
	slices.Sort(differ)
	return differ, nil
}
