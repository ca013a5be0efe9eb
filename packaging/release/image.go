package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// image writes a container image of the program alone, FROM scratch, as `docker load` reads it. It needs no engine, so it is the same each time.
func (r *release) image(program, arch, to string) error {
	binary, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, dir := range []string{"usr/", "usr/bin/"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: r.at}); err != nil {
			return err
		}
	}
	if err := errors.Join(entry(w, "usr/bin/fairlead", 0o755, binary, r.at), w.Close()); err != nil {
		return err
	}
	type object = map[string]any
	config, err := json.Marshal(object{
		"architecture": arch, "os": "linux", "created": r.at.Format(time.RFC3339),
		"config": object{"Entrypoint": []string{"/usr/bin/fairlead"}, "Cmd": []string{"run"}, "Env": []string{"PATH=/usr/bin"}, "Labels": object{
			"org.opencontainers.image.title": "fairlead", "org.opencontainers.image.version": r.version, "org.opencontainers.image.revision": r.commit,
			"org.opencontainers.image.source": "https://github.com/fairlead/fairlead", "org.opencontainers.image.licenses": "Apache-2.0"}},
		"rootfs":  object{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))}},
		"history": []object{{"created": r.at.Format(time.RFC3339), "created_by": "packaging/release"}},
	})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%x.json", sha256.Sum256(config))
	manifest, err := json.Marshal([]object{{"Config": name, "RepoTags": []string{"fairlead:" + tag(r.version) + "-" + arch}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	w = tar.NewWriter(f)
	return errors.Join(entry(w, name, 0o644, config, r.at), entry(w, "layer.tar", 0o644, layer.Bytes(), r.at),
		entry(w, "manifest.json", 0o644, manifest, r.at), w.Close(), f.Close())
}

// tag is a version as the tag of an image may be.
func tag(version string) string {
	return string(bytes.Map(func(c rune) rune {
		if c == '+' || c == '~' {
			return '-'
		}
		return c
	}, []byte(version)))
}

func entry(w *tar.Writer, name string, mode int64, content []byte, at time.Time) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content)), ModTime: at}); err != nil {
		return err
	}
	_, err := io.Copy(w, bytes.NewReader(content))
	return err
}
