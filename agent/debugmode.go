package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/agent/ecsconfig"
)

// DebugMode has the ECS agent and dockerd log more for a time. The files come back byte for byte: when it is switched off, when its time
// is over, and at the daemon's first start after a boot. No container is restarted: dockerd reads its file again on SIGHUP.
//
// What stood in the files is kept in the state folder, synced, before either is touched.
type DebugMode struct {
	StateDir string
	For      time.Duration

	host         ecsHost
	docker       string // socket; empty: /var/run/docker.sock
	pidfile      string // of dockerd; empty: /var/run/docker.pid
	dockerConfig string // empty: as dockerd's command line says, else /etc/docker/daemon.json
}

// debugRecord is the file debug.json in the state folder: what is to come back.
type debugRecord struct {
	Expires time.Time  `json:"expires"`
	Boot    string     `json:"boot"` // of the kernel: another one, and all is put back
	Docker  *debugFile `json:"docker,omitempty"`
	ECS     *debugFile `json:"ecs,omitempty"`
}

// debugFile is a file that was changed.
type debugFile struct {
	Path    string      `json:"path"`
	Existed bool        `json:"existed"`
	Former  []byte      `json:"former"`
	Mode    fs.FileMode `json:"mode"`
	UID     int         `json:"uid"`
	GID     int         `json:"gid"`
	Written string      `json:"written"` // hash of what was written
	Ending  string      `json:"ending"`  // hash of what is written on the way back
}

func (d DebugMode) recordPath() string { return filepath.Join(d.StateDir, "debug.json") }

func (d DebugMode) socket() string { return cmp.Or(d.docker, d.host.path("/var/run/docker.sock")) }

func (d DebugMode) read() (*debugRecord, error) {
	text, err := os.ReadFile(d.recordPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r debugRecord
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("read %s: %w", d.recordPath(), err)
	}
	return &r, nil
}

func (d DebugMode) keep(r *debugRecord) error {
	if err := os.MkdirAll(d.StateDir, 0o700); err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return ecsconfig.Replace(d.recordPath(), text, 0o600)
}

// bootID is another after each boot, of a machine or of a container that stands for one: there the kernel stays, and the first process does not.
func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	id := strings.TrimSpace(string(text))
	stat, _ := os.ReadFile("/proc/1/stat")
	if fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(fields) > 19 {
		id += " " + fields[19] // when it was started, in ticks since the kernel's boot
	}
	return id
}

// Due tells whether it is on and has to be switched off: its time is over, or the host was booted since.
func (d DebugMode) Due(now time.Time) bool {
	r, err := d.read()
	return err == nil && r != nil && (now.After(r.Expires) || r.Boot != bootID())
}

// On switches it on and answers what was done, in sentences. What is on already is left, and its time begins anew.
func (d DebugMode) On(ctx context.Context, now time.Time) (done []string, err error) {
	r, err := d.read()
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = &debugRecord{}
	}
	r.Boot = bootID() // after a boot its time begins anew too
	r.Expires = now.Add(d.For)
	if err := d.keep(r); err != nil {
		return nil, fmt.Errorf("keep what is to come back: %w", err)
	}
	text, derr := d.dockerOn(ctx, r)
	done = append(done, text)
	text, eerr := d.ecsOn(ctx, r)
	done = append(done, text)
	if r.Docker == nil && r.ECS == nil {
		_ = os.Remove(d.recordPath()) // nothing to put back
	} else {
		done = append(done, "it ends at "+r.Expires.UTC().Format(time.RFC3339)+", or with fairlead bundle debug off")
	}
	return done, errors.Join(derr, eerr)
}

// Off puts everything back.
func (d DebugMode) Off(ctx context.Context) (done []string, err error) {
	r, err := d.read()
	if err != nil {
		return nil, err
	}
	if r == nil {
		return []string{"debug logging is not switched on by fairlead: nothing to do"}, nil
	}
	var derr, eerr error
	if r.Docker != nil {
		var text string
		if text, derr = d.dockerOff(ctx, r); derr == nil {
			r.Docker = nil
		}
		done = append(done, text)
	}
	if r.ECS != nil {
		var text string
		if text, eerr = d.ecsOff(ctx, r.ECS); eerr == nil {
			r.ECS = nil
		}
		done = append(done, text)
	}
	if derr == nil && eerr == nil {
		return done, os.Remove(d.recordPath())
	}
	return done, errors.Join(derr, eerr, d.keep(r))
}

// debugFlag is how dockerd is told on a command line. --debug=false is the same directive.
var debugFlag = regexp.MustCompile(`(^|[\s"'=])(-D|--debug)(=[a-zA-Z0-9]*)?($|[\s"'\\])`)

// flagged answers where debug is given as a flag; empty if it is nowhere. The same directive as flag and in the file stops dockerd's next start.
func (d DebugMode) flagged(cmdline string) string {
	if debugFlag.MatchString(cmdline) {
		return "dockerd's command line"
	}
	files := []string{"/etc/sysconfig/docker", "/etc/default/docker", "/etc/systemd/system/docker.service", "/usr/lib/systemd/system/docker.service", "/lib/systemd/system/docker.service"}
	if list, err := filepath.Glob(d.host.path("/etc/systemd/system/docker.service.d/*.conf")); err == nil {
		for _, path := range list {
			if rel, err := filepath.Rel(d.host.path("/"), path); err == nil {
				files = append(files, "/"+rel)
			}
		}
	}
	for _, name := range files {
		text, err := os.ReadFile(d.host.path(name))
		if err != nil {
			continue
		}
		for l := range strings.Lines(string(text)) {
			if l = strings.TrimSpace(l); !strings.HasPrefix(l, "#") && debugFlag.MatchString(l) {
				return name
			}
		}
	}
	return ""
}

// engine answers dockerd's process and its command line; 0 if it does not run.
func (d DebugMode) engine() (pid int, cmdline []string) {
	text, err := os.ReadFile(cmp.Or(d.pidfile, d.host.path("/var/run/docker.pid")))
	if err != nil {
		return 0, nil
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0, nil
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	words := strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")
	if err != nil || !strings.Contains(filepath.Base(words[0]), "dockerd") {
		return 0, nil // the file is old, the number another's
	}
	return pid, words
}

// dockerFile is where dockerd reads its configuration.
func (d DebugMode) dockerFile(cmdline []string) string {
	for i, w := range cmdline {
		if path, ok := strings.CutPrefix(w, "--config-file="); ok {
			return path
		}
		if w == "--config-file" && i+1 < len(cmdline) {
			return cmdline[i+1]
		}
	}
	return cmp.Or(d.dockerConfig, d.host.path("/etc/docker/daemon.json"))
}

// debugging asks dockerd whether it logs its debug messages.
func (d DebugMode) debugging(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", d.socket())
	}}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/info", nil)
	if err != nil {
		return false, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return false, fmt.Errorf("ask dockerd on %s: %w", d.socket(), err)
	}
	defer answer.Body.Close()
	var info struct{ Debug bool }
	if err := json.NewDecoder(io.LimitReader(answer.Body, 4<<20)).Decode(&info); err != nil {
		return false, fmt.Errorf("ask dockerd on %s: %w", d.socket(), err)
	}
	return info.Debug, nil
}

// reread has dockerd read its file again and waits until it says that it is debugging, or not.
func (d DebugMode) reread(ctx context.Context, pid int, want bool) error {
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		return fmt.Errorf("tell dockerd to read its file again: %w", err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		is, err := d.debugging(ctx)
		switch {
		case err == nil && is == want:
			return nil
		case time.Now().After(deadline) && err != nil:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("dockerd read its file again and says debug is %v (see its log)", is)
		}
		t := time.NewTimer(200 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

var debugKey = regexp.MustCompile(`("debug"\s*:\s*)(true|false)`)

// withDebug answers the text with debug set: the directive that is there is changed, else one is put in front.
func withDebug(text []byte, on bool) ([]byte, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}\n")
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("it is no JSON object: %w", err)
	}
	var out []byte
	value := strconv.FormatBool(on)
	if _, ok := all["debug"]; ok {
		out = debugKey.ReplaceAll(text, []byte("${1}"+value))
	} else {
		put := `"debug": ` + value
		if len(all) > 0 {
			put += ", "
		}
		i := bytes.IndexByte(text, '{') + 1
		out = append(append(bytes.Clone(text[:i]), put...), text[i:]...)
	}
	// The text is changed, not written anew, so it is checked that nothing else is: a "debug" may stand deeper.
	var now map[string]json.RawMessage
	if err := json.Unmarshal(out, &now); err != nil {
		return nil, fmt.Errorf("debug cannot be set in it: %w", err)
	}
	if string(now["debug"]) != value {
		return nil, errors.New("debug cannot be set in it")
	}
	delete(now, "debug")
	delete(all, "debug")
	if len(now) != len(all) {
		return nil, errors.New("debug cannot be set in it")
	}
	for k, v := range all {
		if !bytes.Equal(now[k], v) {
			return nil, errors.New("debug stands in it at another place too")
		}
	}
	return out, nil
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

// remember reads what is to come back.
func rememberFile(path string) (*debugFile, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f := &debugFile{Path: path, Mode: 0o644, UID: -1, GID: -1}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f.Existed, f.Mode = true, info.Mode().Perm()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.UID, f.GID = int(st.Uid), int(st.Gid)
	}
	f.Former, err = os.ReadFile(path)
	return f, err
}

// write replaces the file, with the mode and owner that it had.
func (f *debugFile) write(text []byte) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	if err := ecsconfig.Replace(f.Path, text, f.Mode); err != nil {
		return err
	}
	if f.UID >= 0 {
		return os.Chown(f.Path, f.UID, f.GID)
	}
	return nil
}

// restore puts back what stood there.
func (f *debugFile) restore() error {
	if !f.Existed {
		if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return f.write(f.Former)
}

// ours tells whether the file still is as it was written, or is as it was before already, and answers its text.
func (f *debugFile) ours() ([]byte, bool, error) {
	text, err := os.ReadFile(f.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	h := sum(text)
	return text, h == f.Written || f.Ending != "" && h == f.Ending || h == sum(f.Former) && f.Existed == (err == nil), nil
}

func (d DebugMode) dockerOn(ctx context.Context, r *debugRecord) (string, error) {
	if r.Docker != nil {
		return "dockerd: on already", nil
	}
	pid, cmdline := d.engine()
	if where := d.flagged(strings.Join(cmdline, " ")); where != "" {
		return "dockerd: debug is given as a flag (" + where + "), nothing is written: with the directive in daemon.json too it would not start again", nil
	}
	if pid == 0 {
		return "dockerd does not run: nothing is written", nil
	}
	if is, err := d.debugging(ctx); err != nil {
		return "dockerd: nothing is written", err
	} else if is {
		return "dockerd debugs already, by its own configuration: nothing is written", nil
	}
	f, err := rememberFile(d.dockerFile(cmdline))
	if err != nil {
		return "dockerd: nothing is written", err
	}
	text, err := withDebug(f.Former, true)
	if err != nil {
		return "dockerd: nothing is written", fmt.Errorf("%s: %w", f.Path, err)
	}
	f.Written = sum(text)
	r.Docker = f
	if err := d.keep(r); err != nil {
		return "dockerd: nothing is written", fmt.Errorf("keep what is to come back: %w", err)
	}
	if err := f.write(text); err != nil {
		return "dockerd: " + f.Path + " is not written", err
	}
	if err := d.reread(ctx, pid, true); err != nil {
		said, back := d.dockerOff(context.WithoutCancel(ctx), r) // it may have noticed
		if back == nil {
			r.Docker = nil
			back = d.keep(r)
		}
		return said, errors.Join(err, back)
	}
	return "dockerd debugs: debug is set in " + f.Path + ", no container was restarted", nil
}

func (d DebugMode) dockerOff(ctx context.Context, r *debugRecord) (string, error) {
	f := r.Docker
	text, ours, err := f.ours()
	if err != nil {
		return "dockerd: " + f.Path + " cannot be read", err
	}
	pid, _ := d.engine()
	// A directive that merely goes is not noticed by dockerd: it has to be told false first.
	if off, err := withDebug(text, false); err == nil && pid != 0 {
		f.Ending = sum(off)
		if err := d.keep(r); err != nil { // whoever goes on after us knows the file for ours
			return "dockerd: " + f.Path + " is not written", err
		}
		if err := f.write(off); err != nil {
			return "dockerd: " + f.Path + " is not written", err
		}
		if err := d.reread(ctx, pid, false); err != nil {
			// It may hang; the file comes back all the same, so that the next start is right.
			if ours {
				return "dockerd still debugs; " + f.Path + " is as it was", errors.Join(err, f.restore())
			}
			return "dockerd still debugs", err
		}
		if !ours {
			return "dockerd debugs no longer; " + f.Path + " was changed by somebody meanwhile and now has debug false: see to it", nil
		}
	}
	if !ours {
		return f.Path + " was changed by somebody meanwhile and is left as it is", nil
	}
	if err := f.restore(); err != nil {
		return "dockerd: " + f.Path + " is not put back", err
	}
	return "dockerd debugs no longer; " + f.Path + " is as it was", nil
}

const logLevelKey = "ECS_LOGLEVEL"

func (d DebugMode) ecsOn(ctx context.Context, r *debugRecord) (string, error) {
	if r.ECS != nil {
		return "the ECS agent: on already", nil
	}
	path := d.host.file()
	if info, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return "there is no ECS agent on this host", nil
	}
	f, err := rememberFile(path)
	if err != nil {
		return "the ECS agent: nothing is written", err
	}
	if v := ecsconfig.Effective(f.Former)[logLevelKey]; v == "debug" || v == "trace" {
		return "the ECS agent logs " + v + " already, by its own configuration: nothing is written", nil
	}
	plan := ecsconfig.Make(ecsconfig.Input{File: path, Text: f.Former, Settings: []ecsconfig.Setting{{Key: logLevelKey, Value: "debug"}}})
	f.Written = sum(plan.Text)
	if !f.Existed || plan.Secret {
		f.Mode &= 0o600
	}
	r.ECS = f
	if err := d.keep(r); err != nil {
		return "the ECS agent: nothing is written", fmt.Errorf("keep what is to come back: %w", err)
	}
	if err := f.write(plan.Text); err != nil {
		return "the ECS agent: " + path + " is not written", err
	}
	what, err := d.host.restart(ctx, ecsconfig.Auto)
	return "the ECS agent logs debug: " + path + " is written; " + what, err
}

func (d DebugMode) ecsOff(ctx context.Context, f *debugFile) (string, error) {
	text, ours, err := f.ours()
	if err != nil {
		return "the ECS agent: " + f.Path + " cannot be read", err
	}
	said := f.Path + " is as it was"
	if ours {
		err = f.restore()
	} else {
		// Somebody wrote to it: only what is ours goes back.
		said = f.Path + " was changed by somebody meanwhile: only " + logLevelKey + " is put back"
		var out strings.Builder
		former, had := ecsconfig.Effective(f.Former)[logLevelKey]
		for l := range strings.Lines(string(text)) {
			if strings.TrimSpace(l) == logLevelKey+"=debug" {
				if !had {
					continue
				}
				l = logLevelKey + "=" + former + "\n"
			}
			out.WriteString(l)
		}
		err = f.write([]byte(out.String()))
	}
	if err != nil {
		return "the ECS agent: " + f.Path + " is not put back", err
	}
	what, err := d.host.restart(ctx, ecsconfig.Auto)
	return said + "; " + what, err
}

// watchDebug switches debug logging off when its time is over, until the context ends. After a boot that is at once.
func (a *Agent) watchDebug(ctx context.Context) {
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		a.mu.Lock()
		d := DebugMode{StateDir: a.loaded.Config.State.Dir}
		a.mu.Unlock()
		if d.StateDir != "" && d.Due(time.Now()) {
			done, err := d.Off(ctx)
			a.log.Info("debug logging is over", "done", strings.Join(done, "; "))
			if err != nil {
				a.log.Error("debug logging is not switched off everywhere, it is tried again", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
