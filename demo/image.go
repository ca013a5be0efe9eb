package demo

import (
	"archive/tar"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/moby/moby/client"
)

// makeImage imports an image whose only file is a static program.
func (e *engine) makeImage(ctx context.Context, program string) error {
	f, err := os.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := static(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	var packing sync.WaitGroup
	packing.Go(func() { w.CloseWithError(writeTar(w, f, info.Size())) })
	defer packing.Wait()
	defer r.Close() // ends it
	answer, err := e.cli.ImageImport(ctx, client.ImageImportSource{Source: r, SourceName: "-"}, e.name, client.ImageImportOptions{})
	if err != nil {
		return err
	}
	defer answer.Close()
	for dec := json.NewDecoder(answer); ; {
		var m struct {
			Error string `json:"error"`
		}
		switch err := dec.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case m.Error != "":
			return errors.New(m.Error)
		}
	}
}

func writeTar(w io.Writer, program io.Reader, size int64) error {
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(&tar.Header{Name: "fairlead", Mode: 0o755, Size: size}); err != nil {
		return err
	}
	if _, err := io.Copy(tw, program); err != nil {
		return err
	}
	return tw.Close()
}

// static refuses a program that needs an interpreter: there is none in the image.
func static(f *os.File) error {
	e, err := elf.NewFile(f)
	if err != nil {
		return err
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("this program is linked dynamically: build it with CGO_ENABLED=0, as `make build` does")
		}
	}
	return nil
}
