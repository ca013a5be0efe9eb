package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fairlead/fairlead/agent"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fairlead": main})
}

// TestScripts runs the program as its user does: the scripts are in testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"until":  until,
			"signal": signalDaemon,
		},
	})
}

// setUp puts the directory of the script into the files that name it as ${WORK}. The engine and the disks of this machine are not for a
// daemon of a test to clean up.
func setUp(e *testscript.Env) error {
	e.Setenv("DOCKER_HOST", "unix://"+filepath.Join(e.WorkDir, "no-docker.sock"))
	e.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	e.Setenv("GORACE", "atexit_sleep_ms=0") // else each process under the race detector ends a second later
	files, err := filepath.Glob(filepath.Join(e.WorkDir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.Contains(text, []byte("control:")) && !bytes.Contains(text, []byte("cleanup:")) {
			text = append(text, "cleanup: {enabled: false}\n"...)
		}
		if err := os.WriteFile(name, bytes.ReplaceAll(text, []byte("${WORK}"), []byte(e.WorkDir)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// exits CODE COMMAND...: the command ends with that exit code. Its outputs are in the files out and err.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [args...]")
	}
	c := exec.Command(args[1], args[2:]...)
	c.Dir = ts.Getenv("WORK")
	c.Path, _ = lookPath(args[1], ts.Getenv("PATH"))
	for _, name := range []string{"PATH", "HOME", "GORACE", "FAIRLEAD_FORWARD_TO", "FAIRLEAD_NO_SUCH", "DOCKER_HOST"} {
		if v := ts.Getenv(name); v != "" {
			c.Env = append(c.Env, name+"="+v)
		}
	}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if c.ProcessState == nil {
		ts.Fatalf("%s: %v", args[1], err)
	}
	ts.Check(os.WriteFile(ts.MkAbs("out"), out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), errs.Bytes(), 0o600))
	if got := strconv.Itoa(c.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("exit code %s, want %s\n%s%s", got, args[0], out.String(), errs.String())
	}
}

func lookPath(name, path string) (string, error) {
	for dir := range strings.SplitSeq(path, ":") {
		if p, err := exec.LookPath(dir + "/" + name); err == nil {
			return p, nil
		}
	}
	return exec.LookPath(name)
}

// until CONFIG PATTERN: the status of the daemon with the configuration, as JSON, matches the pattern within thirty seconds.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: until config pattern")
	}
	client := agent.Client{Socket: agent.Source{Path: ts.MkAbs(args[0])}.Load().Config.Control.Socket}
	want := regexp.MustCompile(args[1])
	var text []byte
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if text, err = client.Raw(context.Background()); err == nil && want.Match(text) {
			return
		}
	}
	ts.Fatalf("%s: no status that matches %s: %v\n%s", client.Socket, args[1], err, text)
}

// signal NAME CONFIG: sends the signal to the daemon with the configuration.
func signalDaemon(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "USR1": syscall.SIGUSR1}
	if neg || len(args) != 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal HUP|TERM|KILL|USR1 config")
	}
	client := agent.Client{Socket: agent.Source{Path: ts.MkAbs(args[1])}.Load().Config.Control.Socket}
	s, err := client.Status(context.Background())
	ts.Check(err)
	ts.Check(syscall.Kill(s.PID, signals[args[0]]))
}
