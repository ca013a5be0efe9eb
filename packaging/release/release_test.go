package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What dpkg and rpm sort by their rules is in the order in which it was made.
func TestVersion(t *testing.T) {
	for described, want := range map[string]string{
		"v1.2.3":                      "1.2.3",
		"v1.2.3-rc1":                  "1.2.3~rc1",
		"v1.2.3-5-gabc1234":           "1.2.3+5.gabc1234",
		"v1.2.3-rc.2-5-gabc1234":      "1.2.3~rc.2+5.gabc1234",
		"v1.2.3-5-gabc1234-dirty":     "1.2.3+5.gabc1234.dirty",
		"v1.2.3-dirty":                "1.2.3+0.dirty",
		"v0.0.0-133-g0123456789ab":    "0.0.0+133.g0123456789ab",
		"1.2.3":                       "",
		"v1.2":                        "",
		"v1.2.3-something-5-gabc1234": "",
	} {
		got, err := packageVersion(described)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", described, got, err, want)
		}
	}
	if _, err := exec.LookPath("dpkg"); err != nil {
		return
	}
	order := []string{"v1.2.3-rc1", "v1.2.3-rc1-4-gabc", "v1.2.3-rc2", "v1.2.3", "v1.2.3-2-gfff", "v1.2.3-10-gaaa", "v1.2.4"}
	for i := range order[1:] {
		a, _ := packageVersion(order[i])
		b, _ := packageVersion(order[i+1])
		if err := exec.Command("dpkg", "--compare-versions", a, "lt", b).Run(); err != nil {
			t.Errorf("dpkg does not sort %s before %s", a, b)
		}
	}
}

func build(t *testing.T, formats ...string) *release {
	t.Helper()
	r := &release{version: "1.0.0", commit: "0123456789ab", at: time.Unix(1767225600, 0).UTC(), arches: []string{"amd64"}, formats: formats, out: t.TempDir()}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	if err := r.make(ctx); err != nil {
		if _, err := exec.Command("go", "run", nfpm, "--version").CombinedOutput(); err != nil {
			t.Skipf("nfpm is not in the module cache, and cannot be fetched: %v", err)
		}
		t.Fatal(err)
	}
	return r
}

// The same tree gives the same bytes, and they are what they are to be.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a release (-short)")
	}
	t.Chdir("../..")
	r := build(t, "deb", "rpm", "image")
	sums := read(t, r.out, "SHA256SUMS")
	again := func() *release { // by somebody else
		defer syscall.Umask(syscall.Umask(0o077))
		t.Setenv("TZ", "Asia/Tokyo")
		return build(t, "deb", "rpm", "image")
	}()
	if other := read(t, again.out, "SHA256SUMS"); other != sums {
		t.Errorf("built twice:\n%s%s", sums, other)
	}
	if n := strings.Count(sums, "\n"); n != 5 {
		t.Errorf("%d files, want binary, deb, rpm, image and SBOM:\n%s", n, sums)
	}
	c := exec.Command("sha256sum", "-c", "--quiet", "SHA256SUMS")
	c.Dir = r.out
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	const name = "fairlead_1.0.0_linux_amd64"
	out, err := exec.Command(filepath.Join(r.out, name), "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "fairlead 1.0.0 (commit 0123456789ab, go1.") {
		t.Errorf("version: %s, %v", out, err)
	}
	checkSBOM(t, read(t, r.out, name+".sbom.json"))
	checkDeb(t, filepath.Join(r.out, name+".deb"))
	checkImage(t, filepath.Join(r.out, name+".image.tar"))
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkSBOM demands what the format does, and each module with its licence.
func checkSBOM(t *testing.T, text string) {
	t.Helper()
	var s struct {
		BOMFormat, SpecVersion string
		Components             []struct {
			Name, Version, Purl string
			Licenses            []struct{ License struct{ ID string } }
		}
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, c := range s.Components {
		found[c.Name] = true
		if c.Version == "" || c.Purl != "pkg:golang/"+c.Name+"@"+c.Version || len(c.Licenses) != 1 || c.Licenses[0].License.ID == "" {
			t.Errorf("component %+v", c)
		}
	}
	if s.BOMFormat != "CycloneDX" || !found["std"] || !found["github.com/spf13/cobra"] || found["github.com/cpuguy83/go-md2man/v2"] || found["pgregory.net/rapid"] {
		t.Errorf("%s %s with %v", s.BOMFormat, s.SpecVersion, found)
	}
}

// checkDeb looks at files that nobody else reads: dpkg and rpm themselves are tried in test/systemd.
func checkDeb(t *testing.T, path string) {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Log("no dpkg-deb here: the package's files are not looked at")
		return
	}
	out, err := exec.Command("dpkg-deb", "--fsys-tarfile", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Mode&0o22 != 0 {
			t.Errorf("%s is of %d:%d with mode %o", h.Name, h.Uid, h.Gid, h.Mode)
		}
		if h.Mode&0o044 != 0o044 && h.Name != "./etc/fairlead/fairlead.yaml" {
			t.Errorf("%s has mode %o: not everybody may read it", h.Name, h.Mode)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, ".")] = string(text)
	}
	for path, part := range map[string]string{
		"/usr/share/doc/fairlead/NOTICES":                    "github.com/spf13/cobra v",
		"/usr/share/doc/fairlead/copyright":                  "Apache License",
		"/usr/share/bash-completion/completions/fairlead":    "__start_fairlead",
		"/usr/share/zsh/vendor-completions/_fairlead":        "#compdef fairlead",
		"/usr/share/fish/vendor_completions.d/fairlead.fish": "complete -c fairlead",
		"/usr/lib/systemd/system-preset/80-fairlead.preset":  "enable fairlead.service",
		"/usr/lib/systemd/system/fairlead-render.service":    "ExecStart=/usr/bin/fairlead render",
		"/usr/share/man/man1/fairlead-render.1.gz":           "ecs.config",
		"/usr/share/man/man1/fairlead.1.gz":                  "fairlead-render(1)",
		"/usr/share/man/man1/fairlead-version.1.gz":          "\"Jan 2026\" \"fairlead 1.0.0\"",
	} {
		text := files[path]
		if strings.HasSuffix(path, ".gz") {
			z, err := gzip.NewReader(strings.NewReader(text))
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			all, err := io.ReadAll(z)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			text = strings.ReplaceAll(string(all), `\-`, "-")
		}
		if !strings.Contains(strings.ReplaceAll(text, `\fP`, ""), part) {
			t.Errorf("%s has no %q (%d bytes)", path, part, len(text))
		}
	}
	// What klauspost/compress has taken over from others has terms of its own.
	if notices := files["/usr/share/doc/fairlead/NOTICES"]; !strings.Contains(notices, "Copyright (c) 2016 Caleb Spare") || !strings.Contains(notices, "Snappy-Go Authors") {
		t.Error("NOTICES says nothing of xxhash or snappy")
	}
	if shell, err := exec.LookPath("bash"); err == nil {
		c := exec.Command(shell, "-n")
		c.Stdin = strings.NewReader(files["/usr/share/bash-completion/completions/fairlead"])
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("bash does not understand the completions: %v\n%s", err, out)
		}
	}
}

// checkImage has an engine load and run the image.
func checkImage(t *testing.T, path string) {
	t.Helper()
	docker, err := exec.LookPath("docker")
	if err != nil || exec.Command(docker, "version").Run() != nil {
		t.Log("no docker here: the image is not run")
		return
	}
	const image = "fairlead:1.0.0-amd64"
	if out, err := exec.Command(docker, "load", "-q", "-i", path).CombinedOutput(); err != nil {
		t.Fatalf("docker load: %v\n%s", err, out)
	}
	defer func() { _ = exec.Command(docker, "rmi", image).Run() }()
	out, err := exec.Command(docker, "run", "--rm", "--network", "none", "--label", "fairlead-pack=1", image, "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "fairlead 1.0.0 ") {
		t.Errorf("docker run: %v\n%s", err, out)
	}
}

// Each licence is told by its own text.
func TestLicenceOf(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n   Version 2.0, January 2004":                                                         "Apache-2.0",
		"Permission is hereby granted, free of charge, to any person obtaining a copy of this":                 "MIT",
		"Redistribution and use in source and binary forms ... endorse or promote\nproducts derived from this": "BSD-3-Clause",
		"Redistribution and use in source and binary forms, with or without":                                   "BSD-2-Clause",
		"all rights reserved": "",
		"This is free and unencumbered software released into the public domain.": "Unlicense",
	} {
		if got := licenceOf(text); got != want {
			t.Errorf("%.40q: got %q, want %q", text, got, want)
		}
	}
}
