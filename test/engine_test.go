package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// engine speaks to the Docker engine over its socket, with the few calls the tests need. Every container bears the name of the run
// and the pid of the test, so that whoever comes next can remove what a killed test left.
type engine struct {
	http *http.Client
	run  string
}

const (
	runLabel = "fairlead.test.run"
	pidLabel = "fairlead.test.pid"
)

func newEngine(run string) *engine {
	socket := "/var/run/docker.sock"
	if host, ok := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://"); ok {
		socket = host
	}
	return &engine{run: run, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

// call sends a request; body and answer are JSON unless body is a reader or answer a *[]byte.
func (e *engine) call(ctx context.Context, method, path string, query url.Values, body, answer any) error {
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

// ignoreGone takes "no such container" and "removal is already in progress" for done.
func ignoreGone(err error) error {
	if errors.Is(err, statusError(http.StatusNotFound)) || errors.Is(err, statusError(http.StatusConflict)) {
		return nil
	}
	return err
}

func (e *engine) rootDir(ctx context.Context) (string, error) {
	var info struct{ DockerRootDir string }
	err := e.call(ctx, "GET", "/info", nil, nil, &info)
	return info.DockerRootDir, err
}

// importImage makes an image of a file system that holds nothing but /writer.
func (e *engine) importImage(ctx context.Context, fs io.Reader) (id string, err error) {
	query := url.Values{"fromSrc": {"-"}, "repo": {"fairlead-test"}, "tag": {fmt.Sprintf("%s-%d", e.run, os.Getpid())}, "changes": {`ENTRYPOINT ["/writer"]`}}
	var answer []byte
	if err := e.call(ctx, "POST", "/images/create", query, fs, &answer); err != nil {
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

func (e *engine) removeImage(ctx context.Context, id string) error {
	return e.call(ctx, "DELETE", "/images/"+id, url.Values{"force": {"1"}}, nil, nil)
}

// containerSpec is what a test chooses.
type containerSpec struct {
	name       string
	args       []string
	log        map[string]string // options of the json-file driver
	mount      string            // folder of the host that is /progress inside
	autoRemove bool              // the engine removes it as soon as it has ended
}

func (e *engine) create(ctx context.Context, c containerSpec) (id string, err error) {
	body := map[string]any{
		"Image":  bed.image,
		"Cmd":    c.args,
		"Labels": map[string]string{runLabel: e.run, pidLabel: strconv.Itoa(os.Getpid())},
		"HostConfig": map[string]any{
			"LogConfig":   map[string]any{"Type": "json-file", "Config": c.log},
			"NetworkMode": "none",
			"AutoRemove":  c.autoRemove,
			"Binds":       []string{c.mount + ":/progress"},
		},
	}
	var answer struct{ ID string }
	err = e.call(ctx, "POST", "/containers/create", url.Values{"name": {c.name}}, body, &answer)
	return answer.ID, err
}

func (e *engine) start(ctx context.Context, id string) error {
	return e.call(ctx, "POST", "/containers/"+id+"/start", nil, nil, nil)
}

// wait returns when the container has ended, with its exit code.
func (e *engine) wait(ctx context.Context, id string) (int, error) {
	var answer struct{ StatusCode int }
	err := e.call(ctx, "POST", "/containers/"+id+"/wait", nil, nil, &answer)
	return answer.StatusCode, err
}

// stop is `docker stop`: the writer ends after the group it is at.
func (e *engine) stop(ctx context.Context, id string) error {
	return e.call(ctx, "POST", "/containers/"+id+"/stop", url.Values{"t": {"30"}}, nil, nil)
}

// remove is `docker rm -f`.
func (e *engine) remove(ctx context.Context, id string) error {
	return e.call(ctx, "DELETE", "/containers/"+id, url.Values{"force": {"1"}, "v": {"1"}}, nil, nil)
}

func (e *engine) list(ctx context.Context, label string) (ids, pids []string, err error) {
	var answer []struct {
		ID     string `json:"Id"`
		Labels map[string]string
	}
	filters := fmt.Sprintf(`{"label":[%q]}`, label)
	if err := e.call(ctx, "GET", "/containers/json", url.Values{"all": {"1"}, "filters": {filters}}, nil, &answer); err != nil {
		return nil, nil, err
	}
	for _, c := range answer {
		ids, pids = append(ids, c.ID), append(pids, c.Labels[pidLabel])
	}
	return ids, pids, nil
}

// removeMine removes every container of this run.
func (e *engine) removeMine(ctx context.Context) error {
	ids, _, err := e.list(ctx, runLabel+"="+e.run)
	errs := []error{err}
	for _, id := range ids {
		errs = append(errs, ignoreGone(e.remove(ctx, id)))
	}
	return errors.Join(errs...)
}

// sweep removes the containers and images of runs whose process is no more.
func (e *engine) sweep(ctx context.Context) error {
	ids, pids, err := e.list(ctx, runLabel)
	errs := []error{err}
	for i, id := range ids {
		if gone(pids[i]) {
			errs = append(errs, ignoreGone(e.remove(ctx, id)))
		}
	}
	var images []struct{ RepoTags []string }
	errs = append(errs, e.call(ctx, "GET", "/images/json", url.Values{"filters": {`{"reference":["fairlead-test"]}`}}, nil, &images))
	for _, image := range images {
		for _, tag := range image.RepoTags {
			if _, pid, ok := cutLast(tag, "-"); ok && gone(pid) {
				errs = append(errs, ignoreGone(e.removeImage(ctx, tag)))
			}
		}
	}
	return errors.Join(errs...)
}
