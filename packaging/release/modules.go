package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// module is one that is linked into the program.
type module struct {
	path, version string
	license       string // SPDX
	texts         []string
}

// modules asks the program itself what it is made of, and the module cache on what terms. A module whose terms are not known is an error.
func modules(ctx context.Context, program string) ([]module, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	list := []module{{path: "std", version: strings.TrimPrefix(info.GoVersion, "go")}}
	args := []string{"list", "-m", "-f", "{{.Path}} {{.Dir}}"}
	for _, d := range info.Deps {
		if d.Replace != nil {
			return nil, fmt.Errorf("%s is replaced by %s", d.Path, d.Replace.Path)
		}
		list = append(list, module{path: d.Path, version: d.Version})
		args = append(args, d.Path)
	}
	c := exec.CommandContext(ctx, "go", args...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("where the modules are: %w", err)
	}
	dirs := map[string]string{"std": runtime.GOROOT()} //nolint:staticcheck // of the Go that runs this by `go run`, which builds the release too
	for line := range strings.Lines(string(out)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		dirs[path] = dir
	}
	packages, err := linkedPackages(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		m := &list[i]
		if err := m.read(dirs[m.path], packages[m.path]); err != nil {
			return nil, fmt.Errorf("%s %s: %w", m.path, m.version, err)
		}
	}
	return list, nil
}

// linkedPackages are the folders of the packages that are linked in, by module: what a module has taken over from others lies in one of them, or
// above it, with terms of its own.
func linkedPackages(ctx context.Context) (map[string][]string, error) {
	c := exec.CommandContext(ctx, "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}} {{.Dir}}", "./cmd/fairlead")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("what is linked in: %w", err)
	}
	dirs := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		module, dir, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		dirs[module] = append(dirs[module], dir)
	}
	return dirs, nil
}

var licenceFile = regexp.MustCompile(`(?i)^((un)?licen[cs]e|copying|notice|patents)([-.].*)?$`)

// Phrases that only one licence has.
var licences = []struct{ id, phrase string }{
	{"Apache-2.0", "apache license version 2.0"},
	{"MPL-2.0", "mozilla public license version 2.0"},
	{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose"},
	{"ISC", "permission to use, copy, modify, and distribute this software for any purpose"},
	{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"Unlicense", "this is free and unencumbered software released into the public domain"},
	{"BSD-3-Clause", "endorse or promote products derived from"},
	{"BSD-2-Clause", "redistribution and use in source and binary forms"},
}

// read reads the terms of a module, and those of what is in it of others.
func (m *module) read(root string, packages []string) error {
	if err := m.readDir(root); err != nil {
		return err
	}
	if m.license == "" {
		return fmt.Errorf("no licence that is known in %s", root)
	}
	seen := map[string]bool{root: true}
	for _, dir := range packages {
		for ; strings.HasPrefix(dir, root) && !seen[dir]; dir = filepath.Dir(dir) {
			seen[dir] = true
			if err := m.readDir(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *module) readDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("its licence: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		m.texts = append(m.texts, strings.TrimSpace(string(text)))
		if m.license == "" {
			m.license = licenceOf(string(text))
		}
	}
	return nil
}

func licenceOf(text string) string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, l := range licences {
		if strings.Contains(text, l.phrase) {
			return l.id
		}
	}
	return ""
}

// notices are the texts that must go with the program, each once, with the modules that it is for.
func notices(list []module) []byte {
	var order []string
	users := map[string][]string{}
	for _, m := range list {
		for _, text := range m.texts {
			if users[text] == nil {
				order = append(order, text)
			}
			if of := m.path + " " + m.version; !slices.Contains(users[text], of) {
				users[text] = append(users[text], of)
			}
		}
	}
	var b bytes.Buffer
	b.WriteString("fairlead contains the following modules, under the terms below.\n")
	for _, text := range order {
		fmt.Fprintf(&b, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(users[text], "\n"), text)
	}
	return b.Bytes()
}

// sbom lists what the program is made of, as CycloneDX 1.5.
func (r *release) sbom(list []module, arch string) []byte {
	type object = map[string]any
	components := []object{}
	var refs []string
	for _, m := range list {
		purl := "pkg:golang/" + m.path + "@" + m.version
		refs = append(refs, purl)
		components = append(components, object{"type": "library", "bom-ref": purl, "name": m.path, "version": m.version, "purl": purl,
			"licenses": []object{{"license": object{"id": m.license}}}})
	}
	self := "pkg:golang/github.com/fairlead/fairlead@v" + r.version + "?goarch=" + arch + "&goos=linux"
	text, err := json.MarshalIndent(object{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata": object{"timestamp": r.at.Format("2006-01-02T15:04:05Z"), "component": object{"type": "application", "bom-ref": self,
			"name": "github.com/fairlead/fairlead", "version": "v" + r.version, "purl": self}},
		"components":   components,
		"dependencies": []object{{"ref": self, "dependsOn": refs}},
	}, "", "  ")
	if err != nil {
		panic(err) // strings alone
	}
	return append(text, '\n')
}
