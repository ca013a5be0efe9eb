package docker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
)

// Has tells whether the engine has the image.
func (e *Engine) Has(ctx context.Context, image string) (bool, error) {
	err := e.call(ctx, "GET", "/images/"+image+"/json", nil, nil, nil)
	if errors.Is(err, statusError(http.StatusNotFound)) {
		return false, nil
	}
	return err == nil, err
}

// ImportTree makes the image repo:tag of a file system, a tar.
func (e *Engine) ImportTree(ctx context.Context, tree io.Reader, repo, tag string) error {
	var answer []byte
	query := url.Values{"fromSrc": {"-"}, "repo": {repo}, "tag": {tag}}
	if err := e.call(ctx, "POST", "/images/create", query, tree, &answer); err != nil {
		return err
	}
	if bytes.Contains(answer, []byte(`"error"`)) {
		return fmt.Errorf("import %s:%s: %s", repo, tag, bytes.TrimSpace(answer))
	}
	return nil
}

// CreateMachine makes a container whose first process is the init system of the image. It does not run yet.
func (e *Engine) CreateMachine(ctx context.Context, image, name string) (id string, err error) {
	body := map[string]any{
		"Image":      image,
		"Cmd":        []string{"/sbin/init"},
		"Env":        []string{"container=docker"}, // by this systemd knows not to touch the kernel
		"StopSignal": "SIGRTMIN+3",
		"Labels":     map[string]string{RunLabel: e.run, pidLabel: strconv.Itoa(os.Getpid())},
		"HostConfig": map[string]any{
			"CapAdd":      []string{"SYS_ADMIN", "NET_ADMIN"},
			"SecurityOpt": []string{"seccomp=unconfined", "apparmor=unconfined"},
			"Tmpfs":       map[string]string{"/run": "exec", "/run/lock": "", "/tmp": "exec"},
			// The host's hierarchy: with one of its own systemd would find cgroups of version 2 read-only.
			"CgroupnsMode": "host",
			"Binds":        []string{"/sys/fs/cgroup:/sys/fs/cgroup"},
			"NetworkMode":  "none",
		},
	}
	var answer struct{ ID string }
	err = e.call(ctx, "POST", "/containers/create", url.Values{"name": {name}}, body, &answer)
	return answer.ID, err
}

// Upload unpacks a tar at the container's root, whether it runs or not. What is mounted there when it runs, as /run, is not reached.
func (e *Engine) Upload(ctx context.Context, id string, files io.Reader) error {
	return e.call(ctx, "PUT", "/containers/"+id+"/archive", url.Values{"path": {"/"}}, files, nil)
}

// Halt is `docker stop` with a limit in seconds.
func (e *Engine) Halt(ctx context.Context, id string, seconds int) error {
	return e.call(ctx, "POST", "/containers/"+id+"/stop", url.Values{"t": {strconv.Itoa(seconds)}}, nil, nil)
}

// Exec runs a command in a running container and answers what it wrote, stdout and stderr, and its exit code.
func (e *Engine) Exec(ctx context.Context, id string, args ...string) (out string, code int, err error) {
	var made struct{ ID string }
	body := map[string]any{"Cmd": args, "AttachStdout": true, "AttachStderr": true}
	if err := e.call(ctx, "POST", "/containers/"+id+"/exec", nil, body, &made); err != nil {
		return "", 0, err
	}
	var stream []byte
	if err := e.call(ctx, "POST", "/exec/"+made.ID+"/start", nil, map[string]any{"Detach": false, "Tty": false}, &stream); err != nil {
		return "", 0, err
	}
	// Each piece has a header: stream, three zeros, length.
	var text bytes.Buffer
	for len(stream) >= 8 {
		n := int(binary.BigEndian.Uint32(stream[4:]))
		if len(stream) < 8+n {
			return "", 0, fmt.Errorf("exec %q: the answer is cut short", args)
		}
		text.Write(stream[8 : 8+n])
		stream = stream[8+n:]
	}
	var state struct{ ExitCode int }
	err = e.call(ctx, "GET", "/exec/"+made.ID+"/json", nil, nil, &state)
	return text.String(), state.ExitCode, err
}
