package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// fromGit fills in what no flag said.
func (r *release) fromGit(ctx context.Context, at int64) error {
	if r.version == "" {
		described, err := git(ctx, "describe", "--tags", "--dirty", "--match", "v*")
		if err != nil { // no tag yet
			count, cerr := git(ctx, "rev-list", "--count", "HEAD")
			commit, herr := git(ctx, "rev-parse", "--short=12", "HEAD")
			if cerr != nil || herr != nil {
				return fmt.Errorf("there is no git here to tell the version: %w (say -version, -commit and -date)", err)
			}
			described = "v0.0.0-" + count + "-g" + commit
		}
		if r.version, err = packageVersion(described); err != nil {
			return err
		}
	}
	if r.commit == "" {
		var err error
		if r.commit, err = git(ctx, "rev-parse", "--short=12", "HEAD"); err != nil {
			return fmt.Errorf("commit: %w (say -commit)", err)
		}
	}
	if at == 0 {
		var err error
		text := os.Getenv("SOURCE_DATE_EPOCH")
		if text == "" {
			if text, err = git(ctx, "log", "-1", "--format=%ct"); err != nil {
				return fmt.Errorf("time of the commit: %w (say -date)", err)
			}
		}
		if at, err = strconv.ParseInt(text, 10, 64); err != nil {
			return fmt.Errorf("time of the files: %w", err)
		}
	}
	r.at = time.Unix(at, 0).UTC()
	return nil
}

var describedAs = regexp.MustCompile(`^v(\d+\.\d+\.\d+)(?:-((?:rc|beta|alpha)[.\d]*))?(?:-(\d+)-g([0-9a-f]+))?(-dirty)?$`)

// packageVersion makes of what `git describe` says a version that dpkg and rpm sort as meant: what comes after a tag is newer than the tag,
// what leads up to one is older.
func packageVersion(described string) (string, error) {
	m := describedAs.FindStringSubmatch(described)
	if m == nil {
		return "", fmt.Errorf("%q is no version: tags are called v1.2.3 or v1.2.3-rc1", described)
	}
	v := m[1]
	if m[2] != "" {
		v += "~" + m[2]
	}
	if m[3] != "" {
		v += "+" + m[3] + ".g" + m[4]
	}
	if m[5] != "" {
		if m[3] == "" {
			v += "+0"
		}
		v += ".dirty"
	}
	return v, nil
}

func git(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}
