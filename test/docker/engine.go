// Package docker speaks to the Docker engine over its socket, with the few calls the tests need: no client library, so that nothing is
// shared with the program.
package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Engine is a Docker engine as one run of tests uses it. Every container bears the name of the run and the pid of the test, so that
// whoever comes next can remove what a killed test left.
type Engine struct {
	http *http.Client
	run  string
}

const (
	RunLabel = "fairlead.test.run" // on each container: which run made it
	pidLabel = "fairlead.test.pid"
	toLabel  = "fairlead.test.to" // where the fluentd driver sends to
)

// New knows where the engine listens; it does not ask whether it is there.
func New(run string) *Engine {
	socket := "/var/run/docker.sock"
	if host, ok := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://"); ok {
		socket = host
	}
	return &Engine{run: run, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

// call sends a request; body and answer are JSON unless body is a reader or answer a *[]byte.
func (e *Engine) call(ctx context.Context, method, path string, query url.Values, body, answer any) error {
	var in io.Reader
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
	case io.Reader:
		in, contentType = b, "application/x-tar"
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return err
		}
		in = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path+"?"+query.Encode(), in)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %w: %s", method, path, statusError(resp.StatusCode), bytes.TrimSpace(data))
	}
	switch a := answer.(type) {
	case nil:
		return nil
	case *[]byte:
		*a = data
		return nil
	default:
		return json.Unmarshal(data, a)
	}
}

type statusError int

func (s statusError) Error() string { return http.StatusText(int(s)) }

// IgnoreGone takes "no such container" and "removal is already in progress" for done.
func IgnoreGone(err error) error {
	if errors.Is(err, statusError(http.StatusNotFound)) || errors.Is(err, statusError(http.StatusConflict)) {
		return nil
	}
	return err
}

// RootDir is where the engine keeps its files.
func (e *Engine) RootDir(ctx context.Context) (string, error) {
	var info struct{ DockerRootDir string }
	err := e.call(ctx, "GET", "/info", nil, nil, &info)
	return info.DockerRootDir, err
}

// Version is the engine's.
func (e *Engine) Version(ctx context.Context) (string, error) {
	var answer struct{ Version string }
	err := e.call(ctx, "GET", "/version", nil, nil, &answer)
	return answer.Version, err
}

// ImportImage makes an image of a file system that holds nothing but a static program, as /writer.
func (e *Engine) ImportImage(ctx context.Context, program string) (id string, err error) {
	writer, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	var fs bytes.Buffer
	tw := tar.NewWriter(&fs)
	if err := tw.WriteHeader(&tar.Header{Name: "writer", Mode: 0o755, Size: int64(len(writer))}); err != nil {
		return "", err
	}
	if _, err := tw.Write(writer); err != nil {
		return "", err
	}
	if err := tw.Close(); err != nil {
		return "", err
	}
	query := url.Values{"fromSrc": {"-"}, "repo": {"fairlead-test"}, "tag": {fmt.Sprintf("%s-%d", e.run, os.Getpid())}, "changes": {`ENTRYPOINT ["/writer"]`}}
	var answer []byte
	if err := e.call(ctx, "POST", "/images/create", query, &fs, &answer); err != nil {
		return "", err
	}
	// Progress messages follow each other; the last one names the image.
	for dec := json.NewDecoder(bytes.NewReader(answer)); ; {
		var msg struct{ Status, Error string }
		if err := dec.Decode(&msg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", err
		}
		if msg.Error != "" {
			return "", errors.New("import the writer's image: " + msg.Error)
		}
		id = msg.Status
	}
	return id, nil
}

// RemoveImage removes it, also if a container that has ended bears it.
func (e *Engine) RemoveImage(ctx context.Context, id string) error {
	return e.call(ctx, "DELETE", "/images/"+id, url.Values{"force": {"1"}}, nil, nil)
}

// Spec is what a test chooses of a container.
type Spec struct {
	Image      string
	Name       string
	Args       []string
	Env        []string
	Labels     map[string]string
	Driver     string            // of the log; empty: json-file
	Log        map[string]string // the driver's options
	Mount      string            // folder of the host that is /progress inside
	Binds      []string          // more of them, as docker run -v takes them
	Entrypoint []string          // empty: the image's
	User       string            // empty: root
	Bare       bool              // a read-only root, no capabilities, the network of the host
	AutoRemove bool              // the engine removes it as soon as it has ended
}

// Create makes a container that does not run yet.
func (e *Engine) Create(ctx context.Context, c Spec) (id string, err error) {
	if c.Driver == "" {
		c.Driver = "json-file"
	}
	labels := map[string]string{RunLabel: e.run, pidLabel: strconv.Itoa(os.Getpid()), toLabel: c.Log["fluentd-address"]}
	maps.Copy(labels, c.Labels)
	binds := c.Binds
	if c.Mount != "" {
		binds = append(binds, c.Mount+":/progress")
	}
	host := map[string]any{
		"LogConfig":   map[string]any{"Type": c.Driver, "Config": c.Log},
		"NetworkMode": "none",
		"AutoRemove":  c.AutoRemove,
		"Binds":       binds,
	}
	if c.Bare {
		host["NetworkMode"], host["ReadonlyRootfs"], host["CapDrop"] = "host", true, []string{"ALL"}
		host["SecurityOpt"] = []string{"no-new-privileges"}
	}
	body := map[string]any{
		"Image":      c.Image,
		"Cmd":        c.Args,
		"Env":        c.Env,
		"User":       c.User,
		"Labels":     labels,
		"HostConfig": host,
	}
	if c.Entrypoint != nil {
		body["Entrypoint"] = c.Entrypoint
	}
	var answer struct{ ID string }
	err = e.call(ctx, "POST", "/containers/create", url.Values{"name": {c.Name}}, body, &answer)
	return answer.ID, err
}

// Rename is `docker rename`.
func (e *Engine) Rename(ctx context.Context, id, name string) error {
	return e.call(ctx, "POST", "/containers/"+id+"/rename", url.Values{"name": {name}}, nil, nil)
}

// Start is `docker start`.
func (e *Engine) Start(ctx context.Context, id string) error {
	return e.call(ctx, "POST", "/containers/"+id+"/start", nil, nil, nil)
}

// Wait returns when the container has ended, with its exit code.
func (e *Engine) Wait(ctx context.Context, id string) (int, error) {
	var answer struct{ StatusCode int }
	err := e.call(ctx, "POST", "/containers/"+id+"/wait", nil, nil, &answer)
	return answer.StatusCode, err
}

// Kill is `docker kill`.
func (e *Engine) Kill(ctx context.Context, id string) error {
	return e.call(ctx, "POST", "/containers/"+id+"/kill", nil, nil, nil)
}

// Logs is what a container wrote, as the engine frames it.
func (e *Engine) Logs(ctx context.Context, id string) (string, error) {
	var out []byte
	err := e.call(ctx, "GET", "/containers/"+id+"/logs", url.Values{"stdout": {"1"}, "stderr": {"1"}, "tail": {"2000"}}, nil, &out)
	return string(out), err
}

// Stop is `docker stop`: the writer ends after the group it is at.
func (e *Engine) Stop(ctx context.Context, id string) error {
	return e.call(ctx, "POST", "/containers/"+id+"/stop", url.Values{"t": {"30"}}, nil, nil)
}

// Remove is `docker rm -f`.
func (e *Engine) Remove(ctx context.Context, id string) error {
	return e.call(ctx, "DELETE", "/containers/"+id, url.Values{"force": {"1"}, "v": {"1"}}, nil, nil)
}

// sink listens where the fluentd driver of a container sends to, if nobody does: without a receiver the driver tries for ever, and holds
// up the removal of its container, even a question about it, as long.
func sink(addr string) (release func()) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return func() {} // somebody does
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			})
		}
	})
	return func() {
		cancel()
		_ = ln.Close()
		serving.Wait()
	}
}

type listed struct {
	ID     string `json:"Id"`
	Labels map[string]string
}

func (e *Engine) list(ctx context.Context, label string) (all []listed, err error) {
	filters := fmt.Sprintf(`{"label":[%q]}`, label)
	err = e.call(ctx, "GET", "/containers/json", url.Values{"all": {"1"}, "filters": {filters}}, nil, &all)
	return all, err
}

// RemoveMine removes every container of this run.
func (e *Engine) RemoveMine(ctx context.Context) error {
	all, err := e.list(ctx, RunLabel+"="+e.run)
	return errors.Join(err, e.removeAll(ctx, all))
}

// removeAll removes containers side by side.
func (e *Engine) removeAll(ctx context.Context, all []listed) error {
	errs := make([]error, len(all))
	var removing sync.WaitGroup
	for i, c := range all {
		removing.Go(func() {
			if to := c.Labels[toLabel]; to != "" {
				defer sink(to)()
			}
			errs[i] = IgnoreGone(e.Remove(ctx, c.ID))
		})
	}
	removing.Wait()
	return errors.Join(errs...)
}

// Sweep removes the containers and images of runs whose process is no more.
func (e *Engine) Sweep(ctx context.Context) error {
	all, err := e.list(ctx, RunLabel)
	left := slices.DeleteFunc(all, func(c listed) bool { return !Gone(c.Labels[pidLabel]) })
	errs := []error{err, e.removeAll(ctx, left)}
	var images []struct{ RepoTags []string }
	errs = append(errs, e.call(ctx, "GET", "/images/json", url.Values{"filters": {`{"reference":["fairlead-test"]}`}}, nil, &images))
	for _, image := range images {
		for _, tag := range image.RepoTags {
			if i := strings.LastIndex(tag, "-"); i >= 0 && Gone(tag[i+1:]) {
				errs = append(errs, IgnoreGone(e.RemoveImage(ctx, tag)))
			}
		}
	}
	return errors.Join(errs...)
}

// Gone says that there is no process of that number.
func Gone(pid string) bool {
	n, err := strconv.Atoi(pid)
	return err == nil && n > 0 && errors.Is(syscall.Kill(n, 0), syscall.ESRCH)
}
